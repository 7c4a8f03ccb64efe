#!/usr/bin/env bash
# Trains the same job with peft4j and with Hugging Face PEFT on this machine, by turns, and prints both speeds and their
# ratio: MiniLM, LoRA r 8 on query and value, mails cut to 256 tokens, batches of 16, AdamW.
#
#   build-scripts/bench-vs-hf-peft.sh [--dropout config|0] [--steps N] [--rounds N] [--out FILE.json]
#
# Needs the quickstart's build and model, and Python with build-scripts/fixtures/requirements.txt (PYTHON=… chooses it):
#   python3 -m venv .venv && .venv/bin/pip install -r build-scripts/fixtures/requirements.txt && PYTHON=.venv/bin/python …
set -euo pipefail
. "$(dirname "$0")/common.sh"
cd "$root"

dropout=config steps=10 rounds=2 out=
while [ $# -gt 0 ]; do
  case $1 in
    --dropout) dropout=$2 ;;
    --steps) steps=$2 ;;
    --rounds) rounds=$2 ;;
    --out) out=$2 ;;
    *) echo "bench-vs-hf-peft: unknown option $1; see the head of this file" >&2; exit 2 ;;
  esac
  shift 2
done
python=${PYTHON:-python3}
model=models/all-MiniLM-L6-v2
data=src/examples/data/spamassassin/train.jsonl
"$python" -c 'import peft, torch' 2>/dev/null || { echo "bench-vs-hf-peft: $python lacks torch or peft; see the head of this file" >&2; exit 2; }
[ -f "$model/model.safetensors" ] || { echo "bench-vs-hf-peft: no $model; run build-scripts/quickstart.sh first" >&2; exit 2; }

results=$(mktemp -d)
trap 'rm -rf "$results"' EXIT
for round in $(seq "$rounds"); do
  for dtype in float32 bfloat16; do
    target/peft4j/bin/peft4j bench train --model "$model" --data "$data" --dtype "$dtype" --dropout "$dropout" \
      --steps "$steps" --warmup 3 --json "$results/peft4j-$dtype-$round.json" > /dev/null 2>&1
    "$python" build-scripts/bench/hf_peft_bench.py --model "$model" --data "$data" --dtype "$dtype" \
      --dropout "$dropout" --steps "$steps" --warmup 3 2> /dev/null | tail -n 1 > "$results/peft-$dtype-$round.json"
    echo "round $round, $dtype: done" >&2
  done
done
"$python" build-scripts/bench/compare.py "$results" "$rounds" ${out:+--out "$out"}
