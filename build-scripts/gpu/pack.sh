#!/usr/bin/env bash
# Packs peft4j for a machine with a card that has a driver and bash, and nothing else: a Java (jlink), the jars with libtorch for CUDA, the
# small model and its rows, and packed.sh, which trains and generates there.
#
#   build-scripts/gpu/pack.sh [--part-mb N] [--jars FOLDER] [--out FOLDER]
#   build-scripts/gpu/pack.sh --check        a small pack without CUDA, joined and run up to its first launch here
#
# In parts of N MB (200), with join.sh beside them. Needs a JDK, what `mvn -Pcuda -DskipTests package` left in target/, and the folder
# of jars that build-scripts/gpu/java.sh --collect fills (target/gpu-check/jars). To target/gpu-pack, where nothing else is said. There:
#
#   bash gpu-pack/join.sh && bash peft4j-gpu/packed.sh
set -euo pipefail
. "$(dirname "$0")/../common.sh"

part_mb=200 jars=${PEFT4J_JARS:-$root/target/gpu-check/jars} out=$root/target/gpu-pack check=
while [ $# -gt 0 ]; do
  case $1 in
    --part-mb) part_mb=${2:?--part-mb needs a number} && shift ;;
    --jars) jars=${2:?--jars needs a folder} && shift ;;
    --out) out=${2:?--out needs a folder} && shift ;;
    --check) check=1 ;;
    *) fail "unknown argument $1; see the head of this file" ;;
  esac
  shift
done
[[ $part_mb =~ ^[1-9][0-9]*$ ]] || fail "--part-mb needs a whole number above 0, got '$part_mb'"

need_tools javac jlink
[ -x "$root/target/peft4j/bin/peft4j" ] || fail "no target/peft4j; build it first: mvn -Pcuda -DskipTests package"
platform=$(pom_property platform)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pack=$work/peft4j-gpu

jlink --add-modules java.se,jdk.unsupported,jdk.crypto.ec,jdk.management --strip-debug --no-man-pages --no-header-files --compress=1 --output "$work/java"
mkdir -p "$pack/peft4j"
mv "$work/java" "$pack/java"
cp -r "$root"/target/peft4j/{bin,lib} "$pack/peft4j/"
if [ -z "$check" ]; then # libtorch for CUDA, CUDA's own libraries, and the kernels take the place of libtorch for a processor
  gpu=("$jars/pytorch-$(pom_property pytorch.version)-$platform-gpu.jar" "$jars/cuda-$(pom_property cuda.version)".jar
    "$jars/cuda-$(pom_property cuda.version)-$platform".jar "$jars/cuda-$(pom_property cuda.version)-$platform-redist".jar)
  for jar in "${gpu[@]}"; do
    [ -e "$jar" ] || fail "no $jar; build-scripts/gpu/java.sh --collect fetches it"
  done
  kernels=$(compgen -G "$root/target/peft4j-*-$platform-gpu.jar" || fail "no jar of the kernels in target/: mvn -Pcuda -DskipTests package")
  rm -f "$pack"/peft4j/lib/{pytorch,peft4j}-*-"$platform".jar
  cp "${gpu[@]}" "$kernels" "$pack/peft4j/lib/"
fi
cp -r "$root/src/examples/data/stories260k" "$pack/stories260k"
cp "$root/src/examples/data/shakespeare/train.jsonl" "$pack/rows.jsonl"
cp "$root"/build-scripts/gpu/{packed,random_llama}.sh "$root/build-scripts/bench/hf_language_bench.py" "$pack/"

rm -rf "$out"
mkdir -p "$out"
tar -C "$work" -cf - peft4j-gpu | split -b "${part_mb}M" -d -a 3 - "$out/peft4j-gpu.tar."
(cd "$out" && sha256sum peft4j-gpu.tar.* > sha256sums)
cat > "$out/join.sh" << 'JOIN'
#!/usr/bin/env bash
# Lays peft4j-gpu out in the present folder, from the parts beside this file.
set -euo pipefail
parts=$(dirname "$0")
(cd "$parts" && sha256sum --quiet -c sha256sums) || { echo "join: a part is missing or was damaged on the way" >&2 && exit 1; }
cat "$parts"/peft4j-gpu.tar.* | tar -xf -
JOIN
say "$(du -sm "$out" | cut -f 1) MB in $(compgen -G "$out/peft4j-gpu.tar.*" | wc -l) parts in $out"

[ -n "$check" ] || exit 0
cd "$work"
rm -rf peft4j-gpu
bash "$out/join.sh"
expect() { # what, a pattern that a line of the output must have, command…
  local output
  output=$("${@:3}" 2>&1) || true
  grep -q -- "$2" <<< "$output" || fail "$1: no line of the output has '$2':
$output"
  say "$1: ok"
}
packed() { env PEFT4J_LARGE="64 2 4 2 128 512" PEFT4J_STEPS=2 "$@" bash peft4j-gpu/packed.sh; }
has_card() { command -v nvidia-smi > /dev/null && nvidia-smi -L > /dev/null 2>&1; }
has_card || expect "the first launch, where no card is" "^peft4j: device cuda:0 cannot be used" packed
expect "on the processor" "^training, large Llama.* [0-9][0-9]* *-$" packed PEFT4J_DEVICE=cpu
truncate -s -1 "$(compgen -G "$out/peft4j-gpu.tar.*" | tail -n 1)"
expect "a damaged part" "damaged" bash "$out/join.sh"
rm -rf "$out"
