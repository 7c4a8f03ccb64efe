/*
What g++ -fsanitize=undefined calls: in a kernel it ends the launch with a report, as a wrong access does. Each call brings a record that
begins with the place in the source; the layout is GCC's.
*/
#include <cstdio>
#include <cstdlib>

#include "block.h"
#include "memory.h"

namespace {

struct Record {
  const char* file;
  uint32_t line, column;
};

// message() is called where its string is freed again before the thread is left for good.
template <class Message>
[[noreturn]] void report(const Record& at, const Message& message) {
  using namespace peft4j::host;
  const auto place = [&] { return std::string(at.file) + ":" + std::to_string(at.line); };
  if (running == nullptr || running->current == nullptr) {
    std::fprintf(stderr, "%s: %s\n", place().c_str(), message().c_str());
    std::abort();
  }
  guarded([&] { fail(message(), place()); });
  std::abort();  // guarded does not come back from a failure
}

}  // namespace

// An access through a pointer of a wider type (-fsanitize-recover=alignment): a vector of which only parts are used is no access for
// memory.cpp.
extern "C" void __ubsan_handle_type_mismatch_v1(void* data, void* address) {
  struct Mismatch : Record {
    const void* type;
    unsigned char log_alignment, kind;
  };
  const auto& record = *static_cast<const Mismatch*>(data);
  report(record, [&] {
    return "an access to " + std::to_string(1u << record.log_alignment) + "-byte aligned data at " +
           peft4j::host::place_of(address) + ", which is not aligned";
  });
}

// The operands follow the record and are not read.
#define PEFT4J_UNDEFINED(name, message)                                             \
  extern "C" void __ubsan_handle_##name##_abort(const void* data) {                 \
    report(*static_cast<const Record*>(data), [] { return std::string(message); }); \
  }
PEFT4J_UNDEFINED(add_overflow, "a sum of signed integers overflows")
PEFT4J_UNDEFINED(sub_overflow, "a difference of signed integers overflows")
PEFT4J_UNDEFINED(mul_overflow, "a product of signed integers overflows")
PEFT4J_UNDEFINED(negate_overflow, "a negated signed integer overflows")
PEFT4J_UNDEFINED(divrem_overflow, "an integer is divided by zero, or the least one by -1")
PEFT4J_UNDEFINED(shift_out_of_bounds, "a shift by a negative number of bits, or by more than there are")
PEFT4J_UNDEFINED(out_of_bounds, "an index outside of an array")
PEFT4J_UNDEFINED(pointer_overflow, "an address overflows")
