#!/usr/bin/env bash
# Runs the built command line on inputs that people bring, with the results of the real libraries beside them:
# src/test/cases/README.md. Two at a time.
#
#   build-scripts/cases.sh             all
#   build-scripts/cases.sh 14 80       some, by their names' beginnings
set -euo pipefail
. "$(dirname "$0")/common.sh"

need_tools python3
peft4j=$root/target/peft4j/bin/peft4j
[ -x "$peft4j" ] || fail "no $peft4j; build it first: mvn package -DskipTests"
run() {
  python3 "$root/src/test/cases/run.py" "$peft4j" "$@"
}

if [ $# -gt 0 ]; then
  run "$@"
else
  export OMP_NUM_THREADS=1 # each has a core
  export PEFT4J_JAVA_OPTS=-XX:TieredStopAtLevel=1 # calls are short: what the optimising compiler does is not done before they end
  run 0 1 2 3 &
  first=$!
  status=0
  run 4 5 6 7 8 9 || status=1
  wait "$first" || status=1
  exit "$status"
fi
