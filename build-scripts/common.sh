# shellcheck shell=bash
# Helpers that the other scripts source; not called on its own.
#
#   root                         the project's directory
#   fail MESSAGE...              prints the message and ends the script with status 1
#   say MESSAGE...               prints one line of progress
#   pom_property NAME            a version from the <properties> of pom.xml, the one place that has versions
#   need_tools COMMAND...        installs what is missing (as root, through apt-get), else ends with the command to run
#   nvcc, has_nvcc               CUDA's compiler: $CUDA_HOME's, the path's, or /usr/local/cuda's; whether there is one
#   natives_timestamp NAME DIR   writes target/NAME.properties: NAME.timestamp for the jar of DIR's libraries
#   licence_files DIR            lays LICENSE and NOTICE where a jar of DIR has them
#   instruction_sets             the processor's name and its sets that kernels are chosen by, in one line
#   build_tools                  the commands that a build needs, for need_tools

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

nvcc=${CUDA_HOME:+$CUDA_HOME/bin/nvcc}
nvcc=${nvcc:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}

has_nvcc() {
  [ -x "$nvcc" ]
}

fail() {
  printf '%s: %s\n' "$(basename "$0")" "$*" >&2
  exit 1
}

say() {
  printf '[%s] %s\n' "$(basename "$0" .sh)" "$*"
}

pom_property() {
  local value
  value=$(sed -n "s:.*<$1>\(.*\)</$1>.*:\1:p" "$root/pom.xml" | head -n 1)
  [ -n "$value" ] || fail "pom.xml has no property <$1>"
  printf '%s\n' "$value"
}

# The Debian package that brings a command.
package_of() {
  case $1 in
    javac | java) echo openjdk-17-jdk-headless ;;
    mvn) echo maven ;;
    ninja) echo ninja-build ;;
    pip) echo python3-pip ;;
    fc-match) echo fontconfig ;; # with a font: reports have pictures
    *) echo "$1" ;;
  esac
}

has_tool() {
  case $1 in
    javac) [ "$(javac -version 2>&1 | sed -n 's/^javac \([0-9]*\).*/\1/p')" -ge 17 ] 2> /dev/null ;;
    pip) command -v python3 > /dev/null && python3 -m pip --version > /dev/null 2>&1 ;;
    *) command -v "$1" > /dev/null ;;
  esac
}

need_tools() {
  local tool packages=()
  for tool in "$@"; do
    has_tool "$tool" || packages+=("$(package_of "$tool")")
  done
  [ ${#packages[@]} -gt 0 ] || return 0
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    fail "missing: ${packages[*]}. Install them, on Debian or Ubuntu with
  sudo apt-get update && sudo apt-get install -y --no-install-recommends ${packages[*]}"
  fi
  say "installing ${packages[*]}"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${packages[@]}" > /dev/null
}

instruction_sets() {
  local flags set sets=
  flags=" $(sed -n 's/^flags[^:]*: //p' /proc/cpuinfo | head -n 1) "
  for set in avx2 avx512bw avx512_bf16 avx512_fp16 amx_bf16 amx_fp16; do
    [[ $flags != *" $set "* ]] || sets+=" $set"
  done
  printf '%s, %d cores:%s\n' "$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1)" "$(nproc)" "${sets:- none of AVX2 or later}"
}

build_tools() {
  echo javac mvn g++ cmake ninja fc-match
  [ -n "${LIBTORCH_INCLUDE:-}" ] || echo python3 pip
}

# JavaCPP's cache takes a library for unchanged that has the size and the time of the one it extracted before. The jar's
# times are fixed, so that builds repeat, therefore they are made from the contents: a rebuilt snapshot is picked up.
natives_timestamp() {
  local hash
  hash=$(cat "$2"/*.so | sha256sum | cut -c 1-6)
  printf '%s.timestamp=%d\n' "$1" $((1767225600 + 2 * 0x$hash)) > "$root/target/$1.properties"
}

licence_files() {
  mkdir -p "$1/META-INF"
  cp -f "$root/LICENSE" "$root/NOTICE" "$1/META-INF/"
}
