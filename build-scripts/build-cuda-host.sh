#!/usr/bin/env bash
# Builds what tests of the CUDA way need where no card is, into target/cuda-host-library/:
#
#   libpeft4j_cuda_host.so      cuda/'s kernels for this machine's CPU (cuda/host/)
#   libpeft4j_host_devices.so   two CUDA devices that the host plays, with those kernels (native/host_devices/)
#
#   build-scripts/build-cuda-host.sh            needs target/native-build, which build-scripts/build-natives.sh makes
#   build-scripts/build-cuda-host.sh kernels    only the first
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools cmake ninja g++ javac
out=$root/target/cuda-host-library
native=$root/target/native-build
mkdir -p "$out"
cmake -S "$root/cuda/host" -B "$out" -G Ninja -DCMAKE_BUILD_TYPE=Release > "$out/cmake.log" 2>&1 ||
  { cat "$out/cmake.log" && fail "cmake failed"; }
ninja -C "$out" --quiet peft4j_cuda_host | sed '/no work to do/d'
[ "${1:-}" != kernels ] || exit 0
[ -f "$native/build.ninja" ] || fail "no target/native-build; run build-scripts/build-natives.sh first"
ninja -C "$native" --quiet peft4j_host_devices | sed '/no work to do/d; /^-- /d'
cp -f "$native/libpeft4j_host_devices.so" "$out/libpeft4j_host_devices.so.tmp"
mv -f "$out/libpeft4j_host_devices.so.tmp" "$out/libpeft4j_host_devices.so" # a running program keeps the old file
