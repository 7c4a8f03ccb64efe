#!/usr/bin/env bash
# Builds target/cuda/libpeft4j_cuda.so with nvcc (12.8 or newer), for sm_80, 90a, 100, 120 and PTX, and holds each kernel's
# registers, spills and shared memory against cuda/budgets.txt.
#
#   build-scripts/build-cuda.sh              fails where a kernel needs more than its budget, or has none
#   build-scripts/build-cuda.sh --record     writes cuda/budgets.txt anew
#   build-scripts/build-cuda.sh --natives    and lays target/natives-gpu out for the jar of `mvn -Pcuda package`
#
# PEFT4J_CUDA_ARCHITECTURES="80-real;90a-real" compiles for these alone, for a check that takes half the time; not for what ships.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools cmake ninja g++ python3
has_nvcc || fail "no nvcc: install CUDA's compiler, or set CUDA_HOME; without it libtorch's own operations serve CUDA tensors"
build=$root/target/cuda
architectures=${PEFT4J_CUDA_ARCHITECTURES:-}
[ -z "$architectures" ] || [ "${1:-}" != --record ] || fail "--record needs every architecture; unset PEFT4J_CUDA_ARCHITECTURES"
mkdir -p "$build"
cmake -S "$root/cuda" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CUDA_COMPILER="$nvcc" \
  ${architectures:+"-DPEFT4J_CUDA_ARCHITECTURES=$architectures"} \
  > "$build/cmake.log" 2>&1 || { cat "$build/cmake.log" && fail "cmake failed"; }
ninja -C "$build" --quiet peft4j_cuda peft4j_cuda_facts peft4j_bench | sed '/no work to do/d'
python3 "$root/build-scripts/cuda_budgets.py" "$root/cuda/budgets.txt" "$build" "$@"
if [ "${1:-}" = --natives ]; then
  platform=$(pom_property platform)
  out=$root/target/natives-gpu/org/peft4j/$platform
  mkdir -p "$out"
  cp -f "$root/target/natives/org/peft4j/$platform"/*.so "$build/libpeft4j_cuda.so" "$out/"
  licence_files "$root/target/natives-gpu"
  natives_timestamp natives-gpu "$out" # for Maven
fi
