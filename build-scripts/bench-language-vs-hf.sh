#!/usr/bin/env bash
# Trains and generates with a language model of SmolLM2-135M's shape (random weights) in peft4j and in Hugging Face's libraries, by
# turns on this machine, and prints speeds, memory and ratios: LoRA r 8 on all linear layers, rows of 30 to 512 tokens, batches of 8;
# greedy continuation of 8 prompts and of one; and what 16 adapters of rank 8 cost 16 prompts.
#
#   build-scripts/bench-language-vs-hf.sh [--steps N] [--new-tokens N] [--rounds N] [--dtype float32|bfloat16] [--out FILE.json]
#
# Needs a build (mvn package -DskipTests), and Python with build-scripts/fixtures/requirements.txt (PYTHON=… chooses it).
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

steps=3 new_tokens=64 rounds=2 dtype=float32 out=
while [ $# -gt 0 ]; do
  case $1 in
    --steps) steps=$2 ;;
    --new-tokens) new_tokens=$2 ;;
    --rounds) rounds=$2 ;;
    --dtype) dtype=$2 ;;
    --out) out=$2 ;;
    *) echo "bench-language-vs-hf: unknown option $1; see the head of this file" >&2; exit 2 ;;
  esac
  shift 2
done
python=${PYTHON:-python3}
"$python" -c 'import peft, torch' 2> /dev/null || fail "$python lacks torch or peft; see the head of this file"
[ -x target/peft4j/bin/peft4j ] || fail "no target/peft4j; build it first: mvn package -DskipTests"

say "$(instruction_sets)"
model=target/bench/smollm-shape
[ -f "$model/rows.jsonl" ] || "$python" build-scripts/bench/smollm_shape.py --tokenizer src/examples/data/stories260k \
  --text src/examples/data/shakespeare/train.jsonl --out "$model"
results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT

peft4j() { # name of the result, arguments
  target/peft4j/bin/peft4j bench "${@:2}" --json "$results/$1.json" > /dev/null 2> "$results/log" || { cat "$results/log"; exit 1; }
}

hf() {
  "$python" build-scripts/bench/hf_language_bench.py "${@:2}" --model "$model" --data "$model/rows.jsonl" --dtype "$dtype" \
    2> "$results/log" | tail -n 1 > "$results/$1.json" || { cat "$results/log"; exit 1; }
}

for round in $(seq "$rounds"); do
  training=(train --model "$model" --data "$model/rows.jsonl" --task causal-lm --dtype "$dtype" --steps "$steps" --warmup 1
    --set task.max_length=512 --set training.batch_size=8)
  peft4j "train-peft4j-$round" "${training[@]}"
  hf "train-hf-$round" train --steps "$steps"
  peft4j "packed-peft4j-$round" "${training[@]}" --set task.packing=true --set training.batch_size=4
  peft4j "recomputed-peft4j-$round" "${training[@]}" --set training.checkpointing=block
  hf "sorted-hf-$round" train --steps "$steps" --order length
  for prompts in 8 1; do
    peft4j "generate$prompts-peft4j-$round" generate --model "$model" --dtype "$dtype" --rounds 2 \
      --prompts "$prompts" --new-tokens "$new_tokens"
    hf "generate$prompts-hf-$round" generate --prompts "$prompts" --new-tokens "$new_tokens"
  done
  for targets in all-linear q_proj,v_proj; do
    peft4j "adapters-$targets-$round" generate --model "$model" --dtype "$dtype" --rounds 2 --prompts 16 --new-tokens "$new_tokens" \
      --adapters 16 --rank 8 --targets "$targets"
  done
  hf "product-$round" product
  say "round $round: done"
done
"$python" build-scripts/bench/compare_language.py "$results" "$rounds" --model "$model" ${out:+--out "$out"}
