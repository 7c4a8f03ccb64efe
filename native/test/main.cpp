/*
peft4j_native_tests [part of a name]: runs the tests of the native operations; exit code 0 if all passed.

ATEN_CPU_CAPABILITY=default|avx2 runs them with the kernels of a lesser processor.
Thread sanitizer: libgomp is unknown to it, so `peft4j_native_tests threads` runs with OMP_NUM_THREADS=1 and makes its own
std::threads.
*/
#include <ATen/CPUGeneratorImpl.h>
#include <ATen/Parallel.h>
#include <dlfcn.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <map>

#include "check.h"
#include "product_operands.h"

namespace peft4j::test {

const std::vector<int64_t> kSizes = {1, 2, 3, 7, 31, 32, 33, 41, 123, 255, 256, 257, 1000, 0};

struct Test {
  const char* name;
  void (*body)();
};

std::vector<Test>& tests() {
  static std::vector<Test> all;
  return all;
}

int add(const char* name, void (*body)()) {
  tests().push_back({name, body});
  return static_cast<int>(tests().size());
}

void fail(const std::string& message) {
  throw std::runtime_error(message);
}

CudaOnTheHost::CudaOnTheHost() {
  const char* path = std::getenv("PEFT4J_CUDA_HOST_LIBRARY");
  if (path == nullptr) {
    fail(
        "PEFT4J_CUDA_HOST_LIBRARY does not name libpeft4j_cuda_host.so; build-scripts/native-tests.sh builds it and "
        "does");
  }
  load_cuda(path);
}

std::string CudaOnTheHost::last_kernel() const {
  void* library = dlopen(std::getenv("PEFT4J_CUDA_HOST_LIBRARY"), RTLD_NOW | RTLD_NOLOAD);
  return reinterpret_cast<const char* (*)()>(dlsym(library, "peft4j_cuda_last_kernel"))();
}

Threads::Threads(int n) : before(at::get_num_threads()) {
  at::set_num_threads(n);
}

Threads::~Threads() {
  at::set_num_threads(before);
}

void expect_error(const std::string& what, const std::function<void()>& body, const std::vector<std::string>& pieces) {
  std::string message;
  try {
    body();
  } catch (const c10::Error& error) {
    message = error.what_without_backtrace();
  }
  if (message.empty()) {
    fail(what + ": no error");
  }
  for (const std::string& piece : pieces) {
    if (message.find(piece) == std::string::npos) {
      fail(what + ": '" + message + "' does not say '" + piece + "'");
    }
  }
}

void expect_same_bits(const std::string& what, const at::Tensor& a, const at::Tensor& b) {
  if (a.defined() != b.defined()) {
    fail(what + ": only one of the two is there");
  }
  if (a.defined() && !at::equal(a, b)) {
    fail(what + ": not the same bits, largest difference " +
         text((a.to(at::kDouble) - b.to(at::kDouble)).abs().max().item<double>()));
  }
}

// Of float. √1000: the roundings of the longest sum in the tests walk at random.
constexpr double kManyUlps = 32 * 0x1p-24;

static double largest(const at::Tensor& t) {
  return t.numel() == 0 ? 0 : t.detach().to(at::kDouble).abs().max().item<double>();
}

static double distance(const at::Tensor& a, const at::Tensor& b) {
  return largest(a.detach().to(at::kDouble) - b.detach());
}

static int digits_of(at::ScalarType type) {
  return type == at::kBFloat16 ? 8 : type == at::kHalf ? 11 : type == at::kFloat ? 24 : 53;
}

// Distance from |x| to the next larger number of the type.
static double ulp(at::ScalarType type, double x) {
  return x == 0 ? 0 : std::ldexp(1.0, std::ilogb(x) + 1 - digits_of(type));
}

static bool few(const at::Tensor& result) {
  return result.numel() < 100;
}

void expect_close(const std::string& what, const at::Tensor& own, const at::Tensor& reference, double allowed,
                  double absolute) {
  if (!own.defined() || own.sizes() != reference.sizes()) {
    fail(text(what, ": expected shape ", reference.sizes(), ", got ", own.defined() ? text(own.sizes()) : "nothing"));
  }
  if (own.numel() == 0) {
    return;
  }
  const at::Tensor wide = own.detach().to(at::kDouble), exact = reference.detach().to(at::kDouble);
  double bound = 1e-10 * std::max(1.0, largest(exact));
  if (own.scalar_type() != at::kDouble) {
    bound = 2 * allowed + absolute + ulp(own.scalar_type(), largest(exact));
  }
  const at::Tensor difference = (wide - exact).abs().contiguous();
  const double worst = difference.max().item<double>();
  if (!(worst <= bound)) {
    const int64_t at = at::where(difference.isnan(), INFINITY, difference).argmax().item<int64_t>();
    fail(text(what, ": own ", wide.contiguous().view(-1)[at].item<double>(), ", reference ",
              exact.contiguous().view(-1)[at].item<double>(), " at element ", at, " of ", own.sizes(), " ",
              own.scalar_type(), ", difference ", worst, " over the bound ", bound));
  }
}

static std::array<uint32_t, 4> mask_words(uint32_t block, uint64_t row, uint64_t seed) {
  std::array<uint32_t, 4> c = {block, uint32_t(row), uint32_t(row >> 32), 0};
  std::array<uint32_t, 2> key = {uint32_t(seed), uint32_t(seed >> 32)};
  for (int round = 0; round < 10; ++round) {
    const uint64_t first = uint64_t{0xD2511F53} * c[0], second = uint64_t{0xCD9E8D57} * c[2];
    c = {uint32_t(second >> 32) ^ c[1] ^ key[0], uint32_t(second), uint32_t(first >> 32) ^ c[3] ^ key[1],
         uint32_t(first)};
    key = {key[0] + 0x9E3779B9, key[1] + 0xBB67AE85};
  }
  return c;
}

static uint32_t byte_of(const std::array<uint32_t, 4>& words, uint64_t column) {
  return words[column % 16 / 4] >> (8 * (column % 4)) & 255;
}

uint32_t mask_byte(uint64_t row, uint64_t column, uint64_t seed) {
  return byte_of(mask_words(static_cast<uint32_t>(column / 16), row, seed), column);
}

at::Tensor mask(int64_t rows, int64_t columns, double p, uint64_t seed, int64_t first_row, int64_t row_step) {
  const uint32_t threshold = static_cast<uint32_t>(std::lround(256 * p));
  at::Tensor result = at::empty({rows, columns}, at::kDouble);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t block = 0; block * 16 < columns; ++block) {
      const auto words = mask_words(static_cast<uint32_t>(block), first_row + i * row_step, seed);
      for (int64_t at = 0; at < std::min<int64_t>(16, columns - block * 16); ++at) {
        result.data_ptr<double>()[i * columns + block * 16 + at] =
            byte_of(words, at) < threshold ? 0 : 256.0 / (256 - threshold);
      }
    }
  }
  return result;
}

at::Tensor random(at::IntArrayRef shape, uint64_t seed, double deviation) {
  return at::randn(shape, at::detail::createCPUGenerator(seed), at::kDouble) * deviation;
}

Tensors results(const Operation& operation, const std::function<Tensors(const Tensors&, at::ScalarType)>& run,
                at::ScalarType type, bool in_double, double change) {
  const auto changed = [&](const at::Tensor& t, uint64_t seed) {
    return change == 0 ? t : t * (1 + change * random(t.sizes(), seed).sign()).to(t.scalar_type());
  };
  Tensors inputs, trained;
  for (size_t i = 0; i < operation.inputs.size(); ++i) {
    at::Tensor t = operation.inputs[i];
    if (t.defined()) {
      const bool wide = i < operation.wide.size() && operation.wide[i];
      const at::ScalarType own_type = wide && at::isReducedFloatingType(type) ? at::kFloat : type;
      t = changed(t.to(own_type).to(in_double ? at::kDouble : own_type).clone(), 1313 + i);
      if (operation.trained[i]) {
        trained.push_back(t.requires_grad_(true));
      }
    }
    inputs.push_back(t);
  }
  Tensors all = run(inputs, type);
  if (trained.empty()) {
    return all;
  }
  Tensors differentiable, given;
  for (size_t i = 0; i < all.size(); ++i) {
    if (all[i].requires_grad()) {
      differentiable.push_back(all[i]);
      given.push_back(changed(random(all[i].sizes(), 77 + i).to(type).to(all[i].scalar_type()), 1717 + i));
    }
  }
  const Tensors gradients = torch::autograd::grad(differentiable, trained, given, std::nullopt, false, true);
  for (at::Tensor& t : all) {
    t = t.detach();
  }
  for (size_t i = 0; i < gradients.size(); ++i) {
    all.push_back(gradients[i].defined() ? gradients[i] : at::zeros_like(trained[i]));
  }
  return all;
}

// Σ outputs∘given along a random direction of all trained inputs, by central differences and by the gradients.
static void check_differences(const Operation& operation, const Tensors& found, const char* provider) {
  const auto objective = [&](const Tensors& inputs) {
    double sum = 0;
    const Tensors outputs = operation.run(inputs, at::kDouble);
    for (size_t i = 0; i < outputs.size(); ++i) {
      sum += (outputs[i] * random(outputs[i].sizes(), 77 + i)).sum().item<double>();
    }
    return sum;
  };
  Kernels kernels(provider);
  at::NoGradGuard no_grad;
  size_t at = found.size();
  for (size_t i = operation.inputs.size(); i-- > 0;) {
    if (!operation.inputs[i].defined() || !operation.trained[i] || operation.inputs[i].numel() == 0) {
      at -= operation.inputs[i].defined() && operation.trained[i];
      continue;
    }
    const at::Tensor gradient = found[--at], direction = random(operation.inputs[i].sizes(), 991 + i);
    constexpr double eps = 1e-6;
    Tensors up = operation.inputs, down = operation.inputs;
    up[i] = up[i] + eps * direction;
    down[i] = down[i] - eps * direction;
    const double difference = (objective(up) - objective(down)) / (2 * eps);
    const double slope = (gradient * direction).sum().item<double>();
    if (!(std::abs(difference - slope) <= 1e-5 + 1e-3 * std::abs(slope))) {
      fail(text(operation.what, ": central difference along input ", i, " is ", difference, ", the gradient says ",
                slope));
    }
  }
}

void compare(const Operation& operation, const char* provider) {
  for (const at::ScalarType type : operation.types) {
    Tensors own, reference, plain;
    {
      Kernels k(provider);
      own = results(operation, operation.run, type, false);
    }
    {
      Kernels k("reference");
      reference = results(operation, operation.run, type, true);
    }
    if (type != at::kDouble) {
      plain = results(operation, operation.plain, type, false);
    }
    const size_t outputs = own.size() - [&] {
      size_t n = 0;
      for (size_t i = 0; i < operation.inputs.size(); ++i) {
        n += operation.inputs[i].defined() && operation.trained[i];
      }
      return n;
    }();
    std::vector<double> allowed(own.size());
    double relative = 0;
    for (size_t i = 0; i < plain.size(); ++i) {
      allowed[i] = distance(plain[i], reference[i]);
      relative = std::max(relative, allowed[i] / std::max(largest(reference[i]), 1e-30));
    }
    std::map<double, Tensors> moved;  // by the share that the given numbers changed by
    for (size_t i = 0; i < own.size(); ++i) {
      const std::string name =
          text(operation.what, i < outputs ? ", output " : ", gradient ", i < outputs ? i : i - outputs);
      if (type != at::kDouble && own[i].defined() && own[i].sizes() == reference[i].sizes()) {
        if (few(own[i])) {
          allowed[i] = relative * largest(reference[i]);
        }
        if (!(distance(own[i], reference[i]) <= 2 * allowed[i])) {  // seldom, and costs another run
          const double share = few(own[i]) ? std::max(kManyUlps, std::ldexp(1.0, -digits_of(type))) : kManyUlps;
          if (moved[share].empty()) {
            Kernels k("reference");
            moved[share] = results(operation, operation.run, type, true, share);
          }
          allowed[i] = std::max(allowed[i], distance(moved[share][i], reference[i]));
        }
      }
      expect_close(name, own[i], reference[i], allowed[i], operation.absolute);
    }
    if (type == at::kDouble) {
      check_differences(operation, own, provider);
    }
  }
}

void expect_same_bits_for_any_threads(const Operation& operation) {
  Kernels own("own");
  for (const at::ScalarType type : operation.types) {
    const auto by = [&](int n) {
      Threads threads(n);
      return results(operation, operation.run, type, false);
    };
    const Tensors one = by(1), two = by(2), again = by(2);
    for (size_t i = 0; i < one.size(); ++i) {
      const std::string what = text(operation.what, ", ", type, ", result ", i);
      expect_same_bits(what + " by two threads", one[i], two[i]);
      expect_same_bits(what + " again", two[i], again[i]);
    }
  }
}

}  // namespace peft4j::test

int main(int argc, char** argv) {
  using namespace peft4j::test;
  // Reference products are tiny: threads of two pools (OpenBLAS, libgomp) that spin while they wait cost ten times the work.
  // Both read the environment when they are loaded, so it is set for a second start.
  if (std::getenv("OMP_WAIT_POLICY") == nullptr) {
    setenv("OMP_WAIT_POLICY", "passive", 1);
    setenv("OPENBLAS_NUM_THREADS", "1", 0);
    execv("/proc/self/exe", argv);
  }
  const std::string part = argc > 1 ? argv[1] : "";
  int passed = 0, failed = 0;
  std::printf("kernels of %s, %d threads, %s\n", peft4j::cpu_capability().c_str(), at::get_num_threads(),
              peft4j::build_info().c_str());
  for (const Test& test : tests()) {
    if (std::string(test.name).find(part) == std::string::npos) {
      continue;
    }
    const auto begin = std::chrono::steady_clock::now();
    std::string problem;
    try {
      test.body();
    } catch (const c10::Error& error) {
      problem = std::string("unexpected error: ") + error.what_without_backtrace();
    } catch (const std::exception& error) {
      problem = error.what();
    }
    const std::string operands = take_wrong_operands();
    problem = problem.empty() ? operands : problem;
    const double seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    std::printf("%-6s %s (%.2f s)%s%s\n", problem.empty() ? "ok" : "FAILED", test.name, seconds,
                problem.empty() ? "" : "\n       ", problem.c_str());
    std::fflush(stdout);
    ++(problem.empty() ? passed : failed);
  }
  std::printf("%d passed, %d failed\n", passed, failed);
  return failed == 0 && passed > 0 ? 0 : 1;
}
