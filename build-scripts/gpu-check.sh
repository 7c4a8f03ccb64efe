#!/usr/bin/env bash
# What only a card can show. On a machine with an NVIDIA card, nvcc (12.8 or newer), g++ and Python 3:
#
#   build-scripts/gpu-check.sh [PART…] [--only OPERATION] [--quick]
#
# Parts, in this order; without one, all of them:
#   build      the kernels, their tests and libpeft4j for PyTorch, for this card only, without CMake (target/gpu-check/)
#   facts      what the card is, the rates at which it copies and multiplies
#   tests      every test of the kernels
#   sanitize   the same tests under compute-sanitizer's memcheck and racecheck
#   speed      each operation beside its peers (PyTorch, PEFT, Triton) and against the speeds to reach; without PyTorch our
#              kernels alone beside a copy
#   ops        libpeft4j's operations and gradients on the card, through torch.ops, against the formulas in double
#   java       the Java tests on the card, where a JVM, this build's classes and the GPU jars are; and what gpu/pack.sh packed (the head of
#              gpu/packed.sh says what to look at first), where that lies in PEFT4J_PACK or target/gpu-pack. With a pack, --java alone
#              needs a driver and bash, and nothing else
#
#   --only OPERATION   speed and ops of one: lora_linear, attention, rational, …; tests that have its first word in their name
#   --quick            speed and ops: fewer shapes
#
# The first to look at on a card of compute capability 9.0: `tests --only wgmma`. A product down the rows of a swizzled matrix, 96 columns wide, is
# what no library does; should the card not do it, kHeadsOf96 in cuda/device/attention_sm90.h leaves it out.
#
# Writes cuda/results/<card>-<date>-<commit>.json after each step ($OUT/… where OUT is set), and ends with the table.
# Exit status: 0 all that was asked was done and is right, 1 something is wrong or missing, 2 there is no card: then it
# builds (for sm_90a, or PEFT4J_CUDA_ARCHITECTURE), runs the kernels' tests in the host executor and `ops` on the processor.
#
#   build-scripts/gpu-check.sh table FILE.json…   prints the table again, of several runs together
#   build-scripts/gpu-check.sh roofline           the arithmetic: bytes, operations, least times on an H200
#   build-scripts/gpu-check.sh --cpu-dry-run      speed and ops on the processor with tiny shapes: their code has run
#   build-scripts/gpu-check.sh --self-check       a few seconds, no card, no PyTorch: table and arithmetic are right
#
# PYTHON chooses the Python, CUDA_HOME the compiler; PEFT4J_COMMIT names the commit where there is no git.
set -euo pipefail
. "$(dirname "$0")/common.sh"
. "$root/build-scripts/gpu/build.sh"

gpu=$root/build-scripts/gpu
build=$root/target/gpu-check
python=${PYTHON:-python3}
parts=()
options=()
only=()
dry_run=
failed=0
while [ $# -gt 0 ]; do
  case ${1#--} in
    build | facts | tests | sanitize | speed | ops | java) parts+=("${1#--}") ;;
    only) only=(--only "${2:?--only needs an operation}") && shift ;;
    quick) options+=(--quick) ;;
    cpu-dry-run) dry_run=1 ;;
    table) shift && exec "$python" "$gpu/table.py" "$@" ;;
    roofline) shift && exec "$python" "$gpu/predict.py" "$@" ;;
    self-check) exec "$python" "$gpu/self_check.py" ;;
    *) fail "unknown argument $1; see the head of this file" ;;
  esac
  shift
done
[ ${#parts[@]} -gt 0 ] || parts=(build facts tests sanitize speed ops java)
options+=("${only[@]}")
tests_only=("${only[@]/%_*/}")

wants() { # part…
  local part
  for part in "$@"; do
    case " ${parts[*]} " in *" $part "*) return 0 ;; esac
  done
  return 1
}

run() { # what, command…: the next part is run even where this one fails
  say "$1"
  shift
  "$@" || failed=1
}

pack=${PEFT4J_PACK:-$root/target/gpu-pack}
run_pack() {
  mkdir -p "$build"
  cd "$build" && rm -rf peft4j-gpu && bash "$pack/join.sh" && bash peft4j-gpu/packed.sh
}
if [ "${parts[*]}" = java ] && [ -e "$pack/join.sh" ]; then
  (run_pack)
  exit
fi

capability=$(nvidia-smi --query-gpu=compute_cap --format=csv,noheader -i 0 2> /dev/null | tr -d . || true)
[[ $capability =~ ^[0-9]+$ ]] || capability=
architecture=${capability/#90/90a}
architecture=${architecture:-${PEFT4J_CUDA_ARCHITECTURE:-90a}}

need_tools g++ python3
find_torch || torch_version=
torch_library=$build/libpeft4j_torch.so

if [ -n "$dry_run" ]; then
  [ -n "$torch_version" ] || fail "--cpu-dry-run needs a Python with PyTorch (PYTHON=…)"
  build_ops
  build_host_library
  run "ops on the processor" "$python" "$gpu/ops.py" --device cpu --quick --torch-library "$torch_library" "${only[@]}"
  run "ops on the processor, the way of CUDA tensors" "$python" "$gpu/ops.py" --device cpu --quick --torch-library "$torch_library" \
    --cuda-library "$host_library" "${only[@]}"
  rm -f "$build/dry-run.json"
  run "speed, every case once" "$python" "$gpu/speed.py" --cpu-dry-run --torch-library "$torch_library" \
    --cuda-library "$host_library" --results "$build/dry-run.json" "${options[@]}"
  "$python" "$gpu/table.py" "$build/dry-run.json"
  exit "$failed"
fi

folder=${OUT:-$root/cuda/results}
if [ -z "$capability" ]; then
  say "no NVIDIA card here (nvidia-smi shows none); what can be done without one is done"
  folder=$build
fi
results=$(NVCC=$nvcc "$python" "$gpu/results.py" begin "$folder")

build_kernels
if [ -n "$torch_version" ] && wants build speed ops; then
  (build_ops) || { failed=1 && torch_version= && say "libpeft4j could not be built against this PyTorch; going on without it"; }
fi
[ -n "$torch_version" ] || ! wants speed ops || say "no PyTorch in $python: ops cannot run, speed times our kernels alone"

if [ -z "$capability" ]; then
  ! wants tests || run "the kernels' tests in the host executor" "$root/build-scripts/cuda-tests.sh" "${tests_only[@]:1}"
  ! wants ops || [ -z "$torch_version" ] || run "ops on the processor" "$python" "$gpu/ops.py" --device cpu \
    --torch-library "$torch_library" --results "$results" "${options[@]}"
  say "compiled for sm_$architecture in target/gpu-check; not done, for want of a card:$(for part in facts tests sanitize speed ops java; do
    ! wants "$part" || printf ' %s' "$part"
  done)"
  [ "$failed" = 0 ] || exit 1
  exit 2
fi

! wants facts || run "facts" "$python" "$gpu/facts.py" "$build/facts" "$results" "$build/libpeft4j_cuda.so" "$build/libpeft4j_bench.so"
! wants tests || run "tests" "$python" "$gpu/kernel_tests.py" "$build/peft4j_cuda_tests" "$results" "${tests_only[@]}"
! wants sanitize || run "sanitize" "$python" "$gpu/kernel_tests.py" "$build/peft4j_cuda_tests" "$results" "${tests_only[@]}" \
  --tool memcheck --tool racecheck
if wants speed; then
  with_torch=(--torch-library "$torch_library")
  [ -n "$torch_version" ] || with_torch=(--bench-library "$build/libpeft4j_bench.so")
  run "speed" "$python" "$gpu/speed.py" --cuda-library "$build/libpeft4j_cuda.so" "${with_torch[@]}" --results "$results" "${options[@]}"
fi
if wants ops; then
  [ -n "$torch_version" ] || failed=1
  [ -z "$torch_version" ] || run "ops" "$python" "$gpu/ops.py" --device cuda --torch-library "$torch_library" \
    --cuda-library "$build/libpeft4j_cuda.so" --results "$results" "${options[@]}"
fi
! wants java || run "java" "$gpu/java.sh" "$build/libpeft4j_cuda.so" "$results"
if wants java && [ -e "$pack/join.sh" ]; then
  (run_pack) || failed=1
fi
"$python" "$gpu/table.py" "$results"
say "written to $results"
exit "$failed"
