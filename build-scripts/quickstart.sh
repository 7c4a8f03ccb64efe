#!/usr/bin/env bash
# From a fresh clone to a trained adapter: builds peft4j, fetches a sentence encoder, trains a LoRA spam filter on real
# e-mails, evaluates it on mails it has not seen. Installs what is missing as root through apt-get, else prints the command.
#
#   build-scripts/quickstart.sh
set -euo pipefail
. "$(dirname "$0")/common.sh"

cd "$root"
model=models/all-MiniLM-L6-v2
run=runs/spam-lora
test_mails=src/examples/data/spamassassin/test.jsonl

# shellcheck disable=SC2046 # words
need_tools $(build_tools)
say "building (the first time: five minutes of compiling and downloading)"
mvn -B -q -ntp package -DskipTests -Dmaven.javadoc.skip -Dmaven.source.skip -Dcyclonedx.skip
peft4j=target/peft4j/bin/peft4j

[ -f "$model/model.safetensors" ] || "$peft4j" fetch all-minilm-l6-v2 --out "$model"
# Half of an epoch, so that two slow cores are done in six minutes with building and evaluating; an epoch takes twice as long.
say "training on half of the 2,000 mails"
"$peft4j" train --config src/examples/spam-lora.yaml --set training.max_steps=60 --set training.evaluate_every=20 --overwrite
say "evaluating on $test_mails"
metrics=$("$peft4j" evaluate --model "$model" --adapter "$run" --data "$test_mails")
number() { # key, text: the last number of that name
  sed -n "s/.*\"$1\" *: *\([0-9.eE+-]*\).*/\1/p" <<< "$2" | tail -n 1
}

cat << SUMMARY

accuracy   $(number accuracy "$metrics") on the test split (mails that training did not see)
speed      $(printf %.0f "$(number tokens_per_second "$(cat "$run/metrics.jsonl")")") tokens/s at the end of training
adapter    $run (adapter_config.json and adapter_model.safetensors, as Hugging Face PEFT reads them)
report     $run/report.html

next       $peft4j train --config src/examples/spam-lora.yaml --overwrite      a whole epoch
           $peft4j predict --model $model --adapter $run --data $test_mails --out predictions.jsonl
           edit src/examples/spam-lora.yaml: another rank, other targets, your own mails
           $peft4j methods      what else can be trained
           $peft4j --help
SUMMARY
