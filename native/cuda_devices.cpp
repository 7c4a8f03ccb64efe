/* Which cards there are, and why none can be computed on. */
#include <ATen/Context.h>

#include <sstream>
#include <vector>

#include "cuda_library.h"
#include "peft4j.h"

namespace peft4j {
namespace {

constexpr int kOldest = 80;  // what libpeft4j_cuda.so is compiled for

// 13000 and 90 as CUDA's users write them
std::string version(int number) {
  return c10::str(number / 1000, ".", number % 1000 / 10);
}

std::string capability(int number) {
  return c10::str(number / 10, ".", number % 10);
}

struct Versions {
  int driver = 0, library = 0;
};

Versions versions(const CudaCards& cards) {
  Versions v;
  check_cuda(cards.versions(&v.driver, &v.library), "CUDA's versions");
  return v;
}

std::vector<peft4j_cuda_card> described(const CudaCards& cards, int count) {
  std::vector<peft4j_cuda_card> all(count);
  for (int i = 0; i < count; ++i) {
    check_cuda(cards.describe(i, &all[i]), "cuda:", i);
  }
  return all;
}

std::string missing_card(const CudaCards& cards) {
  const Versions v = versions(cards);
  if (v.driver == 0) {
    return "no NVIDIA driver is installed, or this process cannot see it (in a container: nvidia-container-toolkit)";
  }
  int count = 0;
  if (cards.count(&count) != 0) {
    return v.driver / 1000 < v.library / 1000
               ? c10::str("the NVIDIA driver is too old: it serves CUDA ", version(v.driver),
                          ", libpeft4j_cuda.so needs one for CUDA ", v.library / 1000)
               : c10::str("the driver's cards cannot be used: ", last_cuda_error());
  }
  if (count == 0) {
    return "the driver sees no card (CUDA_VISIBLE_DEVICES may hide it)";
  }
  std::string too_old;
  for (const peft4j_cuda_card& card : described(cards, count)) {
    if (card.capability >= kOldest) {
      return "";
    }
    too_old += c10::str(too_old.empty() ? "" : ", ", card.name, " has ", capability(card.capability));
  }
  return c10::str("no card of compute capability ", capability(kOldest),
                  " or newer (sm_80: A100, RTX 30 and later): ", too_old);
}

const CudaCards& cards_with(at::DeviceIndex card) {
  const CudaCards* cards = cuda_cards();
  TORCH_CHECK(cards != nullptr, "cuda:", static_cast<int>(card), ": ", missing_cuda_library());
  int count = 0;
  check_cuda(cards->count(&count), "cuda:", static_cast<int>(card));
  TORCH_CHECK(card >= 0 && card < count, "cuda:", static_cast<int>(card), ": there are ", count, " cards");
  return *cards;
}

}  // namespace

int cuda_capability(at::DeviceIndex card) {
  peft4j_cuda_card described;
  check_cuda(cards_with(card).describe(card, &described), "cuda:", static_cast<int>(card));
  return described.capability;
}

int64_t free_bytes(at::Device card) {
  TORCH_CHECK(card.is_cuda() && card.has_index(), "free_bytes: card must be cuda:N, got ", card);
  const CudaCards& cards = cards_with(card.index());
  TORCH_CHECK(at::hasCUDA(), "free_bytes: libtorch computes on the CPU only, and knows no ", card);
  const c10::DeviceGuard guard(card);  // which makes no context on the card that was current before
  int64_t bytes = 0;
  check_cuda(cards.free_bytes(&bytes), "free memory of ", card);
  return bytes;
}

std::string cuda_devices() {
  const CudaCards* cards = cuda_cards();
  int count = 0;
  if (cards == nullptr || versions(*cards).driver == 0 || cards->count(&count) != 0) {
    return "";
  }
  const Versions v = versions(*cards);
  std::ostringstream lines;
  int index = 0;
  for (const peft4j_cuda_card& card : described(*cards, count)) {
    lines << index++ << '\t' << card.name << '\t' << capability(card.capability) << '\t' << card.total_bytes << '\t'
          << version(v.driver) << '\t' << version(v.library) << '\n';
  }
  return lines.str();
}

std::string missing_cuda() {
  const CudaCards* cards = cuda_cards();
  if (cards == nullptr) {
    return missing_cuda_library();
  }
  if (cuda_runs_on_the_host()) {
    return "";
  }
  const std::string card = missing_card(*cards);
  return !card.empty() || at::hasCUDA()
             ? card
             : "libtorch computes on the CPU only: its jar is the one for CPUs (org.bytedeco:pytorch with classifier "
               "linux-x86_64-gpu is the other), or CUDA's own libraries are missing (org.bytedeco:cuda with classifier "
               "linux-x86_64-redist brings them)";
}

}  // namespace peft4j
