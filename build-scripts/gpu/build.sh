# shellcheck shell=bash
# Compiling for gpu-check.sh, which sources this after common.sh: needs g++, nvcc, xargs; no CMake, no network.
#
#   build_kernels      libpeft4j_cuda.so, libpeft4j_bench.so, facts, peft4j_cuda_tests for sm_$architecture
#   build_ops          libpeft4j_torch.so: libpeft4j and torch.ops.peft4j against the PyTorch of $python
#   find_torch         whether $python has one; sets torch_version and what build_ops needs
#   build_host_library the kernels for a processor (this one does need CMake); sets host_library
#
# Warnings are no errors here, as they are in the other builds: a machine with a card may have any compiler.
# Results and objects lie in $build. An object is made anew when its command, its source or a header has changed: by their
# contents, so that a folder that was copied from another machine counts.
# shellcheck disable=SC2034,SC2154 # read or set by gpu-check.sh

jobs=()
launcher=()
[ -z "${CMAKE_CXX_COMPILER_LAUNCHER:-}" ] || launcher=("$CMAKE_CXX_COMPILER_LAUNCHER") # such as ccache

job() { # digest of the headers, source, object, command…
  local digest=$1 source=$2 object=$3 command key
  shift 3
  printf -v command '%q ' "$@"
  key=$({ cat "$source" && echo "$digest $command"; } | sha256sum | cut -c 1-40)
  if [ ! -e "$object" ] || [ "$(cat "$object.key" 2> /dev/null)" != "$key" ]; then
    mkdir -p "$(dirname "$object")"
    jobs+=("$(wc -c < "$source")"$'\t'"$object"$'\t'"$key"$'\t'"$command")
  fi
}

run_job() {
  local object key command
  IFS=$'\t' read -r _ object key command <<< "$1"
  if eval "$command" > "$object.log" 2>&1; then
    echo "$key" > "$object.key"
  else
    echo "$command" >&2
    cat "$object.log" >&2
    return 255 # xargs stops
  fi
}
export -f run_job

run_jobs() { # the largest sources first
  [ ${#jobs[@]} -gt 0 ] || return 0
  say "compiling ${#jobs[@]} sources, $(nproc) at a time"
  # shellcheck disable=SC2016 # bash -c expands it
  printf '%s\0' "${jobs[@]}" | sort -z -rn | xargs -0 -n 1 -P "$(nproc)" bash -c 'run_job "$0"' || fail "compiling failed"
  jobs=()
}

link() { # result, command…
  local result=$1 input
  shift
  for input in "$@"; do
    if [ ! -e "$result" ] || { [ -f "$input" ] && [ "$input" -nt "$result" ]; }; then
      "$@" -o "$result.tmp" || fail "linking $result failed"
      mv -f "$result.tmp" "$result"
      return
    fi
  done
}

digest_of() { # files…
  cat "$@" | sha256sum | cut -c 1-40
}

build_kernels() {
  has_nvcc || fail "no nvcc ($nvcc): install CUDA's compiler, 12.8 or newer, or set CUDA_HOME"
  local headers source object folder=$build/cuda-$architecture
  local kernels=() tests=()
  local flags=(-std=c++20 -O3 -DNDEBUG -lineinfo -Xcompiler "-fPIC,-fvisibility=hidden,-Wall,-Wextra"
    -gencode "arch=compute_$architecture,code=sm_$architecture" "-I$root/cuda")
  headers=$(digest_of "$root"/cuda/*.h "$root"/cuda/device/*.h "$root"/cuda/test/*.h)
  for source in "$root"/cuda/*.cu "$root"/cuda/test/*.cu "$root"/cuda/bench/*.cu; do
    object=$folder/$(basename "$source").o
    case $source in
      *_test.cu | */test/*) tests+=("$object") ;;
      */bench/*) ;;
      *) kernels+=("$object") ;;
    esac
    job "$headers" "$source" "$object" "${launcher[@]}" "$nvcc" "${flags[@]}" -c "$source" -o "$object"
  done
  run_jobs
  link "$build/libpeft4j_cuda.so" "$nvcc" -shared -cudart static -Xlinker "--exclude-libs,ALL" "${kernels[@]}"
  link "$build/libpeft4j_bench.so" "$nvcc" -shared -cudart static "$folder/bench.cu.o"
  link "$build/facts" "$nvcc" -cudart static "$folder/facts.cu.o"
  link "$build/peft4j_cuda_tests" "$nvcc" -cudart static "${kernels[@]}" "${tests[@]}"
}

find_torch() {
  local facts
  facts=$("$python" - 2> /dev/null <<- 'PY'
	import os, torch
	folder = os.path.dirname(torch.__file__)
	print(folder, int(torch.compiled_with_cxx11_abi()), torch.__version__, sep="\t")
	PY
  ) || return 1
  IFS=$'\t' read -r torch_folder torch_abi torch_version <<< "$facts"
}

build_ops() {
  local headers source object set more objects=() include=$torch_folder/include lib=$torch_folder/lib
  local flags=(-std=c++20 -O2 -DNDEBUG -fPIC -fopenmp -fvisibility=hidden -fvisibility-inlines-hidden -DPEFT4J_BUILDING
    "-D_GLIBCXX_USE_CXX11_ABI=$torch_abi" -Wall -Wextra "-I$root/native" -isystem "$include"
    -isystem "$include/torch/csrc/api/include")
  local kernel_flags=(-fno-math-errno -fno-trapping-math -Wno-psabi -Wno-ignored-attributes -Wno-maybe-uninitialized
    -Wno-uninitialized)
  headers=$(digest_of "$root"/native/*.h "$root"/native/cpu/*.h "$root"/cuda/peft4j_cuda.h)-$torch_version
  for source in "$root"/native/*.cpp "$root"/cuda/bench/*.cpp; do
    object=$build/native/$(basename "$source").o
    objects+=("$object")
    job "$headers" "$source" "$object" "${launcher[@]}" g++ "${flags[@]}" -c "$source" -o "$object"
  done
  # set(flags_AVX2 …) of native/CMakeLists.txt. The linker keeps the first of several copies: the least processor's.
  eval "$(sed -n 's/^set(\(flags_[A-Z0-9_]*\) "\{0,1\}\([^"]*\)"\{0,1\})$/local \1="\2"/p' "$root/native/CMakeLists.txt")"
  for set in DEFAULT AVX2 AVX512 AVX512_BF16; do
    more=flags_$set
    for source in "$root"/native/cpu/*.cpp; do
      object=$build/native/$set/$(basename "$source").o
      objects+=("$object")
      # shellcheck disable=SC2086 # words
      job "$headers" "$source" "$object" "${launcher[@]}" g++ "${flags[@]}" "${kernel_flags[@]}" "-DCPU_CAPABILITY=$set" \
        ${!more} -c "$source" -o "$object"
    done
  done
  run_jobs
  link "$build/libpeft4j_torch.so" g++ -shared "${objects[@]}" "-Wl,--no-undefined" "$lib/libtorch_cpu.so" "$lib/libtorch.so" \
    "$lib/libc10.so" "$lib"/libgomp*.so*
}

build_host_library() {
  local folder=$root/target/cuda-host-library
  need_tools cmake ninja
  mkdir -p "$folder"
  cmake -S "$root/cuda/host" -B "$folder" -G Ninja -DCMAKE_BUILD_TYPE=Release > "$folder.log" 2>&1 ||
    { cat "$folder.log" && fail "cmake failed"; }
  ninja -C "$folder" --quiet peft4j_cuda_host
  host_library=$folder/libpeft4j_cuda_host.so
}
