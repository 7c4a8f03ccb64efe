#!/usr/bin/env bash
# Trains every method on the mails with MiniLM, and some on Shakespeare with stories260k, each with the same number of tokens, and
# writes what came out: the table in README.md between its markers, docs/methods-comparison.json with all numbers, and
# docs/methods-comparison.svg, accuracy against trained parameters.
#
#   build-scripts/compare-methods.sh                   hours; may be stopped at any time and called again: what is finished is kept
#   build-scripts/compare-methods.sh --write           only writes again, from what is kept
#
#   --budget TOKENS    of text for each method and seed (default 1000000: on two cores about 3 minutes of the mails with LoRA)
#   --only A,B,…       these methods (names of the table, or DATA:NAME); the others' kept results stay in what is written
#   --seeds N          so many seeds of each method (default: as the table says, 3 for IAPT, DePT, EPT and LoRA, else 1)
#   --data A,B         mails, shakespeare (default: both)
#   --model DIR        MiniLM (default models/all-MiniLM-L6-v2)
#   --out DIR          where results are kept, a JSON file for each method and seed (default runs/compare-methods)
#   --jobs N           runs at a time, each with its part of the cores (default 1). Speeds are measured by themselves, behind them
#   --rounds N         of `bench methods` for each method, of 3 steps (default 3)
#   --readme FILE, --docs DIR     what is written to, for a try (default README.md, docs)
#   --list             shows what would be trained, and ends
#
# Methods, learning rates and why a method is not there: build-scripts/compare/methods.txt, a line each. PEFT4J=… is another
# command line than target/peft4j/bin/peft4j. Needs the build, the quickstart's model and Python 3, nothing else. Not in CI.
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools python3
cd "$root"
exec python3 build-scripts/compare/run.py "$@"
