#!/usr/bin/env bash
# Runs all tests: `mvn -B verify` (which builds the natives; with nvcc also -Pcuda: the CUDA kernels are compiled for sm_80 and
# sm_90a and held against their budgets; `mvn -Pcuda package` compiles for every card), the writer of compare-methods.sh, the cases
# of the field on the built command line, the native tests, once more with sanitizers, Java on cards that the host plays, the CUDA
# kernels on the CPU, a pack for a machine with a card, the formatters. Its first line names the processor and its instruction sets,
# which decide what runs. Installs what is missing as root through apt-get, else prints the command to run. Where the tools are
# present, `mvn -B verify` alone is all that Java needs.
#
#   build-scripts/test.sh
set -euo pipefail
. "$(dirname "$0")/common.sh"

say "$(instruction_sets)"
cd "$root"
# shellcheck disable=SC2046 # words
need_tools $(build_tools)

stage() { # command…: says how long it took
  local began=$SECONDS
  "$@"
  say "$* took $(((SECONDS - began) / 60)) min $(((SECONDS - began) % 60)) s, $((SECONDS / 60)) min since the start"
}

stage build-scripts/format.sh --check # first: it takes seconds
if has_nvcc; then
  export PEFT4J_CUDA_ARCHITECTURES="80-real;90a-real"
  stage mvn -B -ntp -Pcuda verify
else
  stage mvn -B -ntp verify
fi
stage python3 build-scripts/compare/test_compare.py
stage build-scripts/cases.sh
stage build-scripts/native-tests.sh
stage build-scripts/native-tests.sh address,undefined
stage build-scripts/cuda-java-tests.sh
stage build-scripts/cuda-tests.sh
has_nvcc || say "no nvcc here: the kernels were run on the CPU but not compiled for a card"
stage build-scripts/gpu-check.sh --self-check
stage build-scripts/gpu/pack.sh --check
say "all tests passed"
