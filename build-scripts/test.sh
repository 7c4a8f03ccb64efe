#!/usr/bin/env bash
# Runs all tests: `mvn -B verify` (which builds the natives), the native tests, once more with sanitizers, the formatters.
# Installs what is missing as root through apt-get, else prints the command to run. Where the tools are present,
# `mvn -B verify` alone is all that Java needs.
#
#   build-scripts/test.sh
set -euo pipefail
. "$(dirname "$0")/common.sh"

cd "$root"
# shellcheck disable=SC2046 # words
need_tools $(build_tools)
mvn -B -ntp verify
build-scripts/native-tests.sh
build-scripts/native-tests.sh address,undefined
build-scripts/format.sh --check
say "all tests passed"
