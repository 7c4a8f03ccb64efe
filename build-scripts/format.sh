#!/usr/bin/env bash
# Formats Java (palantir-java-format, through spotless) and C++ (.clang-format).
#
#   build-scripts/format.sh            rewrites files
#   build-scripts/format.sh --check    changes nothing, fails if a file would change (Java: mvn verify checks that too)
#
# clang-format comes as a Python wheel into .native/, because its output differs from version to version.
set -euo pipefail
. "$(dirname "$0")/common.sh"

cd "$root"
version=$(pom_property clang-format.version)
clang_format=.native/clang-format-$version/clang_format/data/bin/clang-format
if [ ! -x "$clang_format" ]; then
  need_tools python3 pip
  say "fetching clang-format $version"
  python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --only-binary=:all: \
    --target ".native/clang-format-$version" "clang-format==$version"
fi

mapfile -t files < <(find native cuda -name '*.cpp' -o -name '*.h' -o -name '*.cu' | sort)
if [ "${1:-}" = --check ]; then
  "$clang_format" --dry-run -Werror "${files[@]}" || fail "run build-scripts/format.sh"
  mvn -B -q spotless:check
else
  "$clang_format" -i "${files[@]}"
  mvn -B -q spotless:apply
fi
