/* libtorch's switch for deterministic algorithms while our guard lives. */
#include <ATen/Context.h>

#include <atomic>
#include <optional>
#include <thread>

#include "../deterministic.h"
#include "check.h"

namespace peft4j::test {
namespace {

struct Settings {
  bool on = at::globalContext().deterministicAlgorithms(),
       only_warns = at::globalContext().deterministicAlgorithmsWarnOnly(),
       fills = at::globalContext().deterministicFillUninitializedMemory();
  bool operator==(const Settings&) const = default;
};

bool strict() {
  const Settings now;
  return now.on && !now.only_warns && !now.fills;
}

TEST(deterministicWhileTheLastGuardLives) {
  const Settings before;
  REQUIRE(!before.on && before.fills);
  {
    std::optional<DeterministicLibrary> first(std::in_place), second(std::in_place);
    REQUIRE(strict());
    first.reset();
    REQUIRE(strict());
  }
  REQUIRE(Settings() == before);
}

TEST(deterministicGivesBackWhatWasSet) {
  at::globalContext().setDeterministicAlgorithms(true, true);
  const Settings before;
  {
    DeterministicLibrary guard;
    REQUIRE(strict());
  }
  const Settings after;
  at::globalContext().setDeterministicAlgorithms(false, false);
  REQUIRE(after == before);
}

TEST(deterministicCanBeSwitchedOff) {
  REQUIRE(deterministic());
  const Settings before;
  set_deterministic(false);
  {
    DeterministicLibrary guard;
    set_deterministic(true);  // the guard does not count, whatever is set while it lives
    REQUIRE(Settings() == before);
  }
  REQUIRE(Settings() == before && deterministic());
}

TEST(threadsShareTheDeterministicSwitch) {
  const Settings before;
  std::vector<std::thread> threads;
  std::atomic<int> wrong = 0;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&] {
      for (int n = 0; n < 1000; ++n) {
        DeterministicLibrary guard;
        wrong += !strict();
      }
    });
  }
  for (std::thread& thread : threads) {
    thread.join();
  }
  REQUIRE(wrong == 0 && Settings() == before);
}

}  // namespace
}  // namespace peft4j::test
