#!/usr/bin/env bash
# Builds and runs the tests of native/, without Java.
#
#   build-scripts/native-tests.sh                      as shipped, with the kernels of every processor that this one can play
#   build-scripts/native-tests.sh address,undefined    with g++'s sanitizers, in their own build folder
#   build-scripts/native-tests.sh thread
#   build-scripts/native-tests.sh clang                only compiles, with clang++, for its warnings
set -euo pipefail
. "$(dirname "$0")/common.sh"

kind=${1:-}
# shellcheck disable=SC2046 # words
need_tools $(build_tools)
"$root/build-scripts/build-natives.sh"
include=$(sed -n 's/^LIBTORCH_INCLUDE:PATH=//p' "$root/target/native-build/CMakeCache.txt")
libraries=$(sed -n 's/^LIBTORCH_LIB:PATH=//p' "$root/target/native-build/CMakeCache.txt")

# cuda/'s kernels for this CPU: the tests of the CUDA way. The cards that the host plays are linked into the tests.
[ "$kind" = clang ] || "$root/build-scripts/build-cuda-host.sh" kernels
export PEFT4J_CUDA_HOST_LIBRARY=$root/target/cuda-host-library/libpeft4j_cuda_host.so

configure() { # build folder, more options
  local build=$1
  shift
  [ -f "$build/build.ninja" ] || cmake -S "$root/native" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DLIBTORCH_INCLUDE:PATH="$include" -DLIBTORCH_LIB:PATH="$libraries" "$@" > "$build.log" 2>&1 ||
    { cat "$build.log" && fail "cmake failed"; }
}

# Our kernels and libtorch's are of the set that ATEN_CPU_CAPABILITY allows, oneDNN's products of the one that ONEDNN_MAX_CPU_ISA
# does: so few runs try every set of both. They go at the same time, each needs hardly more than one core; their threads sleep
# while they wait, else those of one run keep those of another from the cores.
export OMP_WAIT_POLICY=passive
runs=() pids=()
start() { # set that the processor must have or "", part of the tests' names or all, environment
  local needs=$1 part=${2/#all/}
  shift 2
  [ -z "$needs" ] || [[ " $sets " == *" $needs "* ]] || { say "no $needs here, so no run with $*" && return; }
  runs+=("$build/tests-${#runs[@]}.log")
  (
    say "${*:-every set of the processor}${part:+, only $part}"
    env "$@" "$build/peft4j_native_tests" "$part"
  ) > "${runs[-1]}" 2>&1 &
  pids+=($!)
}

finish() { # waits for the runs and prints what they said
  local pid failed=0
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  cat "${runs[@]}"
  [ $failed = 0 ] || fail "the tests failed; with $(grep -l '^FAILED' "${runs[@]}" | xargs -r head -q -n 1)"
}

case $kind in
  "")
    build=$root/target/native-build
    ninja -C "$build" --quiet peft4j_native_tests peft4j_torch_ops
    sets=$(instruction_sets)
    say "$sets"
    # All cases once, by the processor's own set; of a lesser one each value of each size (cuda/test/pairwise.h).
    start "" all
    start avx2 all PEFT4J_CASES=each ATEN_CPU_CAPABILITY=default ONEDNN_MAX_CPU_ISA=AVX2
    start avx512bw all PEFT4J_CASES=each ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX512_CORE
    start avx512_bf16 all PEFT4J_CASES=each ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16
    start amx_bf16 attentionFollowsItsFormula PEFT4J_CASES=each ATEN_CPU_CAPABILITY=avx2 # libtorch's attention asks both
    finish
    ;;
  clang)
    need_tools clang++
    build=$root/target/native-clang
    configure "$build" -DCMAKE_CXX_COMPILER=clang++ -DCMAKE_CXX_FLAGS_RELEASE=-fsyntax-only \
      -DCMAKE_DISABLE_PRECOMPILE_HEADERS=ON
    ninja -C "$build" --quiet peft4j_compile_only
    ;;
  *)
    build=$root/target/native-${kind//,/-}
    configure "$build" -DPEFT4J_SANITIZE="$kind" -DPEFT4J_BUILT="$root/target/native-build" "-DCMAKE_CXX_FLAGS_RELEASE=-O1"
    say "compiling with -fsanitize=$kind"
    ninja -C "$root/target/native-build" --quiet peft4j_host_devices peft4j_native_tests # whose objects it takes
    ninja -C "$build" --quiet peft4j_native_tests
    export PEFT4J_CASES=${PEFT4J_CASES:-each}
    # libtorch is not instrumented: containers that it grows look wrong to the address sanitizer, and what it keeps until
    # the end is not ours. libgomp's barriers are unknown to the thread sanitizer: one OpenMP thread, the tests make their own.
    export ASAN_OPTIONS=detect_container_overflow=0:allocator_may_return_null=1 LSAN_OPTIONS=suppressions=$root/native/test/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1 ATEN_CPU_CAPABILITY=avx2 ONEDNN_MAX_CPU_ISA=AVX2 # the instrumented kernels
    if [ "$kind" = thread ]; then
      OMP_NUM_THREADS=1 "$build/peft4j_native_tests" threads
    else
      "$build/peft4j_native_tests"
    fi
    ;;
esac
