/* set_max_registers: registers that go from one warpgroup to another; the model: sm90.h. */
#include "block.h"
#include "sm90.h"

namespace peft4j::host {
namespace {

struct Request {
  int registers;
  bool more;
};

// Gives a warp what it waits for, if there is so much.
bool take(WarpRegisters& warp) {
  if (warp.wanted == 0) {
    return true;
  }
  const int lacking = 32 * (warp.wanted - warp.now);
  if (lacking > running->free_registers) {
    return false;
  }
  running->free_registers -= lacking;
  warp.now = warp.wanted;
  warp.wanted = 0;
  return true;
}

void give_back(WarpRegisters& warp, int registers) {
  running->free_registers += 32 * (warp.now - registers);
  warp.now = registers;
  for (size_t i = 0; i < running->registers.size(); ++i) {
    if (running->registers[i].wanted == 0 || !take(running->registers[i])) {
      continue;
    }
    for (Thread& t : running->threads) {
      if (t.number / 32 == static_cast<int>(i) && t.state == State::kForRegisters) {
        t.state = State::kReady;
      }
    }
  }
}

void change(Lanes& lanes) {
  const auto [registers, more] = *static_cast<const Request*>(lanes.in[0]);
  const int number = lanes.thread[0] / 32, group = number / 4;
  const std::string at = where(lanes.site), name = "set_max_registers<" + std::to_string(registers) + ">: ";
  if (running->bounds.threads == 0) {
    fail(name + "a kernel needs __launch_bounds__, or nobody knows how many the launch reserves", at);
  }
  if (running->threads.size() < static_cast<size_t>(group + 1) * 128) {
    fail(name + "a warpgroup has four whole warps", at);
  }
  WarpRegisters& warp = running->registers[number];
  auto& changes = running->register_changes[group];
  if (warp.changes == changes.size()) {
    changes.push_back({registers, lanes.site});
  }
  if (changes[warp.changes++].registers != registers) {
    fail(name + "another warp of the warpgroup asks for " + std::to_string(changes[warp.changes - 1].registers), at);
  }
  if (more ? registers < warp.now : registers > warp.now) {
    fail(name + "it asks for " + (more ? "more" : "fewer") + ", and the warp has " + std::to_string(warp.now), at);
  }
  if (more) {
    warp.wanted = registers;
  } else {
    give_back(warp, registers);
  }
}

}  // namespace

std::string lacks_registers(const WarpRegisters& warp) {
  return std::to_string(32 * (warp.wanted - warp.now)) + " registers more than the warp's " +
         std::to_string(32 * warp.now) + ", where " + std::to_string(running->free_registers) + " are free";
}

void set_max_registers(int registers, bool more, Site site) {
  const Request request{registers, more};
  warp_collective("set_max_registers", 0xffffffffu, &request, nullptr, change, false, site);
  Thread& self = *running->current;
  if (!take(running->registers[self.number / 32])) {
    self.begin_wait(State::kForRegisters, {.name = "set_max_registers", .site = site});
    self.fiber->leave(false);
  }
}

void expect_whole_register_changes(const Launch& launch) {
  for (size_t i = 0; i < launch.registers.size(); ++i) {
    const auto& changes = launch.register_changes[i / 4];
    if (launch.registers[i].changes != changes.size()) {
      fail("warp " + std::to_string(i) + " has come to " + std::to_string(launch.registers[i].changes) +
               " of its warpgroup's " + std::to_string(changes.size()) + " set_max_registers",
           where(changes.back().site));
    }
  }
}

}  // namespace peft4j::host
