#!/usr/bin/env bash
# Runs the CUDA kernels and their tests on this machine's CPU, in the executor of cuda/host/; needs no card and no CUDA.
#
#   build-scripts/cuda-tests.sh [part of a test's name…]
#
# Twice: with the executor's own checks of each access to memory, and with the address sanitizer. PEFT4J_HOST_SEED=N draws
# another order of threads.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools cmake ninja g++
for kind in thread address; do
  build=$root/target/cuda-host-$kind
  mkdir -p "$build"
  cmake -S "$root/cuda/host" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPEFT4J_KERNELS_SANITIZE=$kind \
    > "$build/cmake.log" 2>&1 || { cat "$build/cmake.log" && fail "cmake failed"; }
  ninja -C "$build" --quiet
done

tests() { # kind, part…: in its folder, as a compiler cache may have made the files' names relative to it
  cd "$root/target/cuda-host-$1" && ./peft4j_cuda_host_tests "${@:2}"
}

# Side by side: each has one thread.
tests address "$@" > "$root/target/cuda-host-address/tests.log" 2>&1 &
address=$!
failed=0
say "kernels on the CPU, g++ -fsanitize=thread"
(tests thread "$@") || failed=1
say "kernels on the CPU, g++ -fsanitize=address"
wait "$address" || failed=1
cat "$root/target/cuda-host-address/tests.log"
exit "$failed"
