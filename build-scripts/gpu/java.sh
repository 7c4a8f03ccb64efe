#!/usr/bin/env bash
# The Java tests on the card, without Maven; a part of gpu-check.sh.
#
#   build-scripts/gpu/java.sh LIBPEFT4J_CUDA RESULTS.json
#   build-scripts/gpu/java.sh --collect [FOLDER]
#
# Needs Java 17 or newer, what `mvn -DskipTests package` left in target/, and a folder of jars: $PEFT4J_JARS, else
# target/gpu-check/jars. --collect fills that folder where Maven and a network are: the tests' dependencies, JUnit's launcher,
# libtorch for CUDA and CUDA's own libraries (2 GB).
set -euo pipefail
. "$(dirname "$0")/../common.sh"

jars=${PEFT4J_JARS:-$root/target/gpu-check/jars}
if [ "${1:-}" = --collect ]; then
  jars=${2:-$jars}
  need_tools mvn
  platform=$(pom_property platform)
  fetch() { mvn -B -q -f "$root/pom.xml" dependency:copy -DoutputDirectory="$jars" -Dartifact="$1"; }
  mvn -B -q -f "$root/pom.xml" dependency:copy-dependencies -DincludeScope=test -DoutputDirectory="$jars"
  fetch "org.junit.platform:junit-platform-console-standalone:$(pom_property junit.version)"
  fetch "org.bytedeco:pytorch:$(pom_property pytorch.version):jar:$platform-gpu"
  fetch "org.bytedeco:cuda:$(pom_property cuda.version)"
  fetch "org.bytedeco:cuda:$(pom_property cuda.version):jar:$platform"
  fetch "org.bytedeco:cuda:$(pom_property cuda.version):jar:$platform-redist"
  rm -f "$jars/pytorch-$(pom_property pytorch.version)-$platform.jar" "$jars"/junit-jupiter*.jar "$jars"/junit-platform-[^c]*.jar
  exit
fi

cuda_library=$1 results=$2
missing=()
has_tool java || missing+=("Java 17 or newer")
[ -d "$root/target/test-classes/org/peft4j" ] && [ -d "$root/target/natives/org/peft4j" ] ||
  missing+=("target/ of mvn -DskipTests package")
compgen -G "$jars/junit-platform-console-standalone-*.jar" > /dev/null && compgen -G "$jars/pytorch-*.jar" > /dev/null ||
  missing+=("the jars in $jars (build-scripts/gpu/java.sh --collect, where Maven and a network are)")
if [ ${#missing[@]} -gt 0 ]; then
  printf 'java: not done, missing: %s\n' "${missing[@]}"
  exit 1
fi

output=$(java -Xmx2g "-Dpeft4j.cuda.library=$cuda_library" \
  -cp "$root/target/classes:$root/target/test-classes:$root/target/natives:$jars/*" \
  org.junit.platform.console.ConsoleLauncher execute --disable-banner --disable-ansi-colors --details=tree \
  --select-class org.peft4j.ops.CudaTest 2>&1) || true
printf '%s\n' "$output"
count() { # which: JUnit's summary has "[         4 tests successful      ]"
  sed -n "s/^\[ *\([0-9]*\) tests $1 *\]$/\1/p" <<< "$output"
}
"${PYTHON:-python3}" - "$results" "$(count successful)" "$(count failed)" "$(count 'aborted')" << PY
import sys
sys.path.insert(0, "$root/build-scripts/gpu")
import results
passed, failed, skipped = (int(n or 0) for n in sys.argv[2:])
results.put(sys.argv[1], "java", {"passed": passed, "failed": failed, "skipped": skipped})
sys.exit(0 if passed and not failed and not skipped else 1)
PY
