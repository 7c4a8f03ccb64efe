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

# cuda/'s kernels for this CPU: the tests of the CUDA way.
cuda_host=$root/target/cuda-host-library
cmake -S "$root/cuda/host" -B "$cuda_host" -G Ninja -DCMAKE_BUILD_TYPE=Release > "$cuda_host.log" 2>&1 ||
  { cat "$cuda_host.log" && fail "cmake failed"; }
[ "$kind" = clang ] || ninja -C "$cuda_host" --quiet peft4j_cuda_host
export PEFT4J_CUDA_HOST_LIBRARY=$cuda_host/libpeft4j_cuda_host.so

configure() { # build folder, more options
  local build=$1
  shift
  [ -f "$build/build.ninja" ] || cmake -S "$root/native" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release \
    -DLIBTORCH_INCLUDE:PATH="$include" -DLIBTORCH_LIB:PATH="$libraries" "$@" > "$build.log" 2>&1 ||
    { cat "$build.log" && fail "cmake failed"; }
}

case $kind in
  "")
    build=$root/target/native-build
    ninja -C "$build" --quiet peft4j_native_tests peft4j_torch_ops
    ATEN_CPU_CAPABILITY=default "$build/peft4j_native_tests"
    ATEN_CPU_CAPABILITY=avx2 "$build/peft4j_native_tests"
    "$build/peft4j_native_tests"
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
    configure "$build" -DPEFT4J_SANITIZE="$kind" "-DCMAKE_CXX_FLAGS_RELEASE=-O1"
    say "compiling with -fsanitize=$kind"
    ninja -C "$build" --quiet peft4j_native_tests
    # libtorch is not instrumented: containers that it grows look wrong to the address sanitizer, and what it keeps until
    # the end is not ours. libgomp's barriers are unknown to the thread sanitizer: one OpenMP thread, the tests make their own.
    export ASAN_OPTIONS=detect_container_overflow=0:allocator_may_return_null=1 LSAN_OPTIONS=suppressions=$root/native/test/lsan.supp:print_suppressions=0
    export UBSAN_OPTIONS=print_stacktrace=1 ATEN_CPU_CAPABILITY=avx2 # the instrumented kernels
    if [ "$kind" = thread ]; then
      OMP_NUM_THREADS=1 "$build/peft4j_native_tests" threads
    else
      "$build/peft4j_native_tests"
    fi
    ;;
esac
