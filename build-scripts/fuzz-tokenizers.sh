#!/usr/bin/env bash
# Damages tokenizer files and tokenizes odd texts with those that still open, in processes of their own; fails if one ends
# otherwise than it should, and keeps the file that did it.
#
#     build-scripts/fuzz-tokenizers.sh [COUNT [SEED]]      100000 files, seed 1
#
# Needs the tests compiled (mvn -Dpeft4j.skipNatives test-compile).
set -euo pipefail
cd "$(dirname "$0")/.."
count=${1:-100000}
seed=${2:-1}
batch=5000

classpath=target/classpath-for-fuzz.txt
mvn -B -ntp -o -q dependency:build-classpath -Dmdep.outputFile="$classpath" -Dmdep.includeScope=test
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
for ((first = 0; first < count; first += batch)); do
    size=$((count - first < batch ? count - first : batch))
    status=0
    timeout 1200 java -Xmx1g -cp "target/test-classes:target/classes:$(cat "$classpath")" \
        org.peft4j.data.tokenizer.TokenizerFuzz "$seed" "$size" "$work" "$first" > "$work/output" 2>&1 || status=$?
    tail -n 1 "$work/output" | sed "s/^/from $first: /"
    if ((status != 0)); then
        tail -n 40 "$work/output"
        cp "$work/tokenizer.json" target/fuzz-tokenizer.json
        echo "exit status $status; the file is target/fuzz-tokenizer.json" >&2
        exit 1
    fi
done
