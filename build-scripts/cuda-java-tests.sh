#!/usr/bin/env bash
# Runs the Java tests of the CUDA way on this machine's CPU: training and generation on cuda:0 and cuda:1, which the host plays
# (native/host_devices/), through cuda/'s kernels in the executor of cuda/host/; needs no card and no CUDA.
#
#   build-scripts/cuda-java-tests.sh [name of a test class, or Class#method]     needs what `mvn test-compile` makes
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools mvn
"$root/build-scripts/build-cuda-host.sh"
cd "$root"
# Two processes, as for the other tests: the executor has one thread.
mvn -B -ntp -q -Dpeft4j.test.excluded= -Dgroups=host-devices ${1:+"-Dtest=$1"} \
  -Dpeft4j.cuda.library="$root/target/cuda-host-library/libpeft4j_host_devices.so" surefire:test
