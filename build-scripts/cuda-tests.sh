#!/usr/bin/env bash
# Runs the CUDA kernels and their tests on this machine's CPU, in the executor of cuda/host/; needs no card and no CUDA.
#
#   build-scripts/cuda-tests.sh [part of a test's name…]              all cases as they are, then fewer (each value of each size, see
#                                                                    cuda/test/pairwise.h) with the executor's checks of each access
#   build-scripts/cuda-tests.sh --all-checks [part of a test's name…]  all cases with these checks, and with the address sanitizer
#
# PEFT4J_HOST_SEED=N draws another order of threads.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools cmake ninja g++

build() { # kind, more options
  local build=$root/target/cuda-host-$1
  mkdir -p "$build"
  cmake -S "$root/cuda/host" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DPEFT4J_KERNELS_SANITIZE="$1" "${@:2}" \
    > "$build/cmake.log" 2>&1 || { cat "$build/cmake.log" && fail "cmake failed"; }
  ninja -C "$build" --quiet
}

tests() { # kind, part…: in its folder, as a compiler cache may have made the files' names relative to it
  cd "$root/target/cuda-host-$1" && ./peft4j_cuda_host_tests "${@:2}"
}

if [ "${1:-}" = --all-checks ]; then
  shift
  kinds=(address thread) cases=pairs built=
else
  kinds=(none thread) cases=each built=$root/target/cuda-host-none
fi
build "${kinds[0]}"
build "${kinds[1]}" "-DPEFT4J_BUILT=$built"

# Side by side: each has one thread.
tests "${kinds[0]}" "$@" > "$root/target/cuda-host-${kinds[0]}/tests.log" 2>&1 &
first=$!
failed=0
say "kernels on the CPU, g++ -fsanitize=${kinds[1]}"
(PEFT4J_CASES=$cases tests "${kinds[1]}" "$@") || failed=1
say "kernels on the CPU, ${kinds[0]/none/no} sanitizer"
wait "$first" || failed=1
cat "$root/target/cuda-host-${kinds[0]}/tests.log"
exit "$failed"
