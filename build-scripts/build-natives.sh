#!/usr/bin/env bash
# Builds libpeft4j.so and its JNI library into target/natives/org/peft4j/<platform>/.
#
#   build-scripts/build-natives.sh                    Maven calls it in process-classes; by hand it does the same
#   build-scripts/build-natives.sh --record-headers   after a change of the libtorch headers that native/ includes:
#                                                     writes native/libtorch-headers.sha256 anew
#
# Headers: LIBTORCH_INCLUDE (a folder with ATen/, c10/, torch/), else those of the PyPI wheel of the same libtorch,
# downloaded once into .native/. Both are compared with native/libtorch-headers.sha256; PEFT4J_ANY_LIBTORCH=1 builds
# with other headers at your own risk. Libraries: from the JavaCPP presets' jars, unpacked by Maven into .native/.
set -euo pipefail
. "$(dirname "$0")/common.sh"

bindings=(org.peft4j.ops.PeftNative) # nested classes are included
platform=$(pom_property platform)
torch=$(pom_property libtorch.version)
native=$root/.native
libraries=$native/lib-$(pom_property pytorch.version)
classpath=$native/classpath
build=$root/target/native-build
out=$root/target/natives/org/peft4j/$platform
record=$root/native/libtorch-headers.sha256

# Our own includes of libtorch, and a digest of every header that they reach, for all instruction sets. It is over the
# sorted contents, not the names: of two equal files g++ skips either one (#pragma once), depending on their times.
our_includes() {
  find "$root/native" \( -name '*.cpp' -o -name '*.h' \) -exec grep -hoE '^#include <(ATen|c10|torch)/[^>]+>' {} + | LC_ALL=C sort -u
}

headers_digest() { # include folder
  local set files
  files=$(for set in "" "-DCPU_CAPABILITY_AVX2 -mavx2 -mfma" "-DCPU_CAPABILITY_AVX512 -mavx512f -mavx512dq -mavx512vl -mavx512bw"; do
    # shellcheck disable=SC2086 # the flags are words
    our_includes | g++ -std=c++20 -fopenmp -DCPU_CAPABILITY=DEFAULT $set -isystem "$1" -isystem "$1/torch/csrc/api/include" -M -x c++ -
  done | tr -s ' \134' '\n' | grep -F "$1/" | LC_ALL=C sort -u)
  printf '%s\n' "$files" | tr '\n' '\0' | xargs -0 sha256sum | cut -d ' ' -f 1 | LC_ALL=C sort -u | sha256sum | cut -d ' ' -f 1
}

fetch_headers() { # sets include
  include=$native/libtorch-$torch/include
  [ -e "$native/libtorch-$torch/complete" ] && return
  need_tools python3 pip
  local work=$native/download
  rm -rf "$work" "$native/libtorch-$torch"
  mkdir -p "$work"
  say "the headers of libtorch $torch come from its Python wheel: one download of 190 MB to 900 MB, kept are 60 MB of headers"
  say "(LIBTORCH_INCLUDE=<folder with ATen, c10 and torch> avoids it)"
  python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary=:all: --python-version 3.11 \
    --dest "$work" "torch==$torch" || fail "could not download torch==$torch; run
  python3 -m pip download --no-deps --only-binary=:all: --python-version 3.11 torch==$torch
on a machine that can, unzip torch/include from the wheel and set LIBTORCH_INCLUDE to that folder"
  say "unpacking $(du -m "$work"/*.whl | cut -f 1) MB"
  python3 - "$work"/*.whl "$native/libtorch-$torch" <<'PY'
import os, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel:
    for name in wheel.namelist():
        if name.startswith("torch/include/") and not name.endswith("/"):
            path = os.path.join(sys.argv[2], os.path.relpath(name, "torch"))
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                file.write(wheel.read(name))
PY
  rm -rf "$work"
  touch "$native/libtorch-$torch/complete"
}

check_headers() { # include folder
  local includes stamp
  [ "${PEFT4J_ANY_LIBTORCH:-}" != 1 ] || return 0
  includes=$(our_includes | sha256sum | cut -d ' ' -f 1)
  stamp=$native/checked-$( (echo "$1 $includes" && cat "$record") | sha256sum | cut -c 1-16)
  [ ! -e "$stamp" ] || return 0
  [ "$(sed -n 's/^includes //p' "$record")" = "$includes" ] ||
    fail "native/ includes other headers of libtorch than when native/libtorch-headers.sha256 was made; with headers that you trust, run
  build-scripts/build-natives.sh --record-headers
and commit the file"
  [ "$(sed -n 's/^headers //p' "$record")" = "$(headers_digest "$1")" ] ||
    fail "the headers in $1 are not those of libtorch $torch that native/libtorch-headers.sha256 was made from. Unset LIBTORCH_INCLUDE
(and remove .native/libtorch-$torch) to use the right ones, or set PEFT4J_ANY_LIBTORCH=1 to build with these at your own risk"
  rm -f "$native"/checked-*
  touch "$stamp"
}

rm -f "$root/target/natives.properties" # its absence tells Maven that this script failed

[ "$(uname -s)-$(uname -m)" = Linux-x86_64 ] || fail "the natives are built on Linux x86-64 only, this is $(uname -s) $(uname -m)"
need_tools g++ cmake ninja
mkdir -p "$native"

if [ -n "${LIBTORCH_INCLUDE:-}" ]; then
  include=$(cd "$LIBTORCH_INCLUDE" 2> /dev/null && pwd) || fail "LIBTORCH_INCLUDE=$LIBTORCH_INCLUDE is no folder"
  [ -f "$include/ATen/ATen.h" ] || fail "LIBTORCH_INCLUDE=$include has no ATen/ATen.h"
else
  fetch_headers
fi
if [ "${1:-}" = --record-headers ]; then
  printf 'includes %s\nheaders %s\n' "$(our_includes | sha256sum | cut -d ' ' -f 1)" "$(headers_digest "$include")" > "$record"
  say "wrote native/libtorch-headers.sha256"
  exit 0
fi

# Maven brings libraries and class path, compiles the bindings, and comes back here.
if [ -z "${PEFT4J_FROM_MAVEN:-}" ]; then
  need_tools javac mvn
  cd "$root" && exec mvn -B -q process-classes
fi
check_headers "$include"

# One folder for the linker; Maven keeps the folders of the jars.
[ -e "$libraries/libtorch_cpu.so" ] || ln -sf "$libraries"/org/bytedeco/*/"$platform"/*.so* "$libraries/"
if [ ! -f "$build/build.ninja" ] || ! grep -qF "LIBTORCH_INCLUDE:PATH=$include" "$build/CMakeCache.txt"; then
  cmake -S "$root/native" -B "$build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_CXX_COMPILER="${CXX:-g++}" \
    -DLIBTORCH_INCLUDE:PATH="$include" -DLIBTORCH_LIB:PATH="$libraries" > "$build.log" 2>&1 || { cat "$build.log"; fail "cmake failed"; }
fi
[ -e "$build/libpeft4j.so" ] || say "compiling native/ (about two minutes on two cores)"
ninja -C "$build" --quiet peft4j | sed '/no work to do/d; /^-- /d'
mkdir -p "$out"
cmp -s "$build/libpeft4j.so" "$out/libpeft4j.so" || cp -f "$build/libpeft4j.so" "$out/libpeft4j.so.tmp"
[ ! -e "$out/libpeft4j.so.tmp" ] || mv -f "$out/libpeft4j.so.tmp" "$out/libpeft4j.so" # a running program keeps the old file

# The JNI library depends on the binding classes' bytes and on our header, not on their times: javac rewrites them often.
stamp=$build/jni.stamp
inputs=$(
  {
    for class in "${bindings[@]}"; do cat "$root/target/classes/${class//.//}"*.class; done
    cat "$root"/native/*.h "$classpath" "$root/build-scripts/build-natives.sh"
  } | sha256sum
)
if [ ! -e "$out/libjnipeft4j.so" ] || [ "$(cat "$stamp" 2> /dev/null)" != "$inputs" ]; then
  say "compiling the JNI library"
  work=$build/jni
  rm -rf "$work"
  java -cp "$root/target/classes:$(cat "$classpath")" org.bytedeco.javacpp.tools.Builder "${bindings[@]}" \
    -o jnipeft4j -d "$work" -Dplatform="$platform" \
    -Dplatform.includepath="$root/native:$include:$include/torch/csrc/api/include" \
    -Dplatform.linkpath="$build:$libraries" -Dplatform.linkpath.prefix2=-Wl,-rpath-link, \
    -Xcompiler -D_GLIBCXX_USE_CXX11_ABI=1 -Xcompiler -w > "$build/jni.log" 2>&1 || { cat "$build/jni.log"; fail "JavaCPP's Builder failed"; }
  cp -f "$work/libjnipeft4j.so" "$out/libjnipeft4j.so.tmp"
  mv -f "$out/libjnipeft4j.so.tmp" "$out/libjnipeft4j.so"
  printf '%s\n' "$inputs" > "$stamp"
fi

licence_files "$root/target/natives"
natives_timestamp natives "$out"
