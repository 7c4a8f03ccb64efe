#!/usr/bin/env bash
# Trains and generates with peft4j on a card, by what pack.sh packed: a driver and bash are needed, no Java, no CUDA, no Python.
#
#   bash peft4j-gpu/packed.sh            writes results/ beside itself ($OUT where that is set), ends with a table
#
# What to look at first, in this order:
#   1. driver      libtorch's CUDA 13 wants driver 580 or newer: with an older one the first launch fails, whatever follows
#   2. info        peft4j names the device, and which kernels it takes
#   3. tiny        results/tiny.log: the loss falls from 4.7 to 3.6 in 20 steps, as on a processor (PEFT4J_DEVICE=cpu shows it)
#   4. large       results/large.log: a Llama of 8B with random weights: the loss is about ln(vocabulary) = 11.8 and no NaN
#   5. the table   beside Hugging Face's libraries where a Python with torch and peft is
# A part that fails says so and the next is run; its log is in results/.
#
# PEFT4J_DEVICE cuda:0; PEFT4J_STEPS 20; PEFT4J_LARGE another shape, as random_llama.sh takes it; PYTHON python3.
set -euo pipefail

home=$(cd "$(dirname "$0")" && pwd)
device=${PEFT4J_DEVICE:-cuda:0} steps=${PEFT4J_STEPS:-20} python=${PYTHON:-python3}
results=${OUT:-$home}/results
failed=0
mkdir -p "$results"
export JAVA_HOME=$home/java PEFT4J_CACHE=${PEFT4J_CACHE:-$home/cache}
peft4j=$home/peft4j/bin/peft4j

say() { printf '[packed] %s\n' "$*"; }

run() { # name, command…: its output goes to a log
  if "${@:2}" > "$results/$1.log" 2>&1; then
    say "$1: done"
  else
    failed=1
    say "$1: FAILED"
    tail -n 12 "$results/$1.log"
  fi
}

train() { # name, model, dtype
  cat > "$results/$1.yaml" << YAML
model: {path: $2, device: "$device", dtype: $3}
task: {type: causal-lm, text: text, max_length: 512, packing: true}
data: {train: $home/rows.jsonl}
method: {type: lora, r: 8, alpha: 16, targets: all-linear}
training: {max_steps: $steps, batch_size: 8, log_every: 1, optimizer: {learning_rate: 1e-3}}
output: $results/$1
YAML
  run "$1" "$peft4j" train --config "$results/$1.yaml" --overwrite
}

generate() { # name, model, dtype, prompts
  run "$1" "$peft4j" bench generate --model "$2" --dtype "$3" --device "$device" --prompts "$4" --new-tokens 64 --rounds 3 --json "$results/$1.json"
}

has_peft() { "$python" -c 'import peft, torch; assert torch.cuda.is_available()' 2> /dev/null; }

hf() { # name, what, model, dtype, prompts
  ! has_peft || run "$1" "$python" "$home/hf_language_bench.py" "$2" --device "$device" --model "$3" --dtype "$4" --prompts "$5" \
    --steps "$steps" --warmup 3 --data "$home/rows.jsonl"
}

# Of the numbers behind "name": in a file, the middle one; - where there is none.
median() { # name, file
  local values
  values=$(sed -n "s/.*\"$1\" *: *\([0-9.eE+-]*\).*/\1/p" "$2" 2> /dev/null | sort -g)
  [ -z "$values" ] && echo - && return
  printf '%.0f' "$(sed -n "$((($(wc -l <<< "$values") + 1) / 2))p" <<< "$values")"
}

row() { # title, number, of peft4j, of Hugging Face
  printf '%-42s %12s %12s\n' "$1" "$(median "$2" "$3")" "$(median "$2" "$4")"
}

say "driver: $(nvidia-smi --query-gpu=name,driver_version,memory.total --format=csv,noheader 2> /dev/null || echo none that nvidia-smi shows)"
run info "$peft4j" info
cat "$results/info.log"

tiny=$home/stories260k large=$home/large
train tiny "$tiny" float32
[ -e "$large/model.safetensors" ] || run "large-weights" bash "$home/random_llama.sh" "$large" "$tiny" ${PEFT4J_LARGE:+"$PEFT4J_LARGE"}
train large "$large" bfloat16
hf large-hf train "$large" bfloat16 8
for prompts in 8 1; do
  generate "generate$prompts" "$large" bfloat16 "$prompts"
  hf "generate$prompts-hf" generate "$large" bfloat16 "$prompts"
done

printf '\n%-42s %12s %12s\n' "tokens/s on $device" peft4j "HF PEFT"
row "training, tiny Llama, float32" tokens_per_second "$results/tiny/metrics.jsonl" none
row "training, large Llama, bfloat16, packed" tokens_per_second "$results/large/metrics.jsonl" "$results/large-hf.log"
row "decoding, 8 prompts" decode_tokens_per_second "$results/generate8.json" "$results/generate8-hf.log"
row "decoding, 1 prompt" decode_tokens_per_second "$results/generate1.json" "$results/generate1-hf.log"
exit "$failed"
