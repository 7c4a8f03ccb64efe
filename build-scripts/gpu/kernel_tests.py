"""
Runs peft4j_cuda_tests on the card, alone or under compute-sanitizer, and writes what passed.

    kernel_tests.py PROGRAM RESULTS [--tool memcheck|racecheck …] [--only PART]

Under a tool the tests run in groups, several at a time, each with a time limit: a group that is too slow for the tool
is reported as not finished, with the tests that it had done.
"""

import argparse
import concurrent.futures
import os
import re
import shutil
import subprocess
import sys

import results as run_file

LIMIT = 120  # seconds a group
LIMIT_OF_ALL = 600  # without a tool: a kernel may wait for ever
GROUP = 6.0  # seconds of tests without the tool in a group
AT_A_TIME = 6
LINE = re.compile(r"^(ok|FAILED) +(\S+) \(([\d.]+) s\)")


def run(command, limit=None):
    """(exit status, None where it was stopped; output)"""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace") as process:
        try:
            output, _ = process.communicate(timeout=limit)
            return process.returncode, output
        except subprocess.TimeoutExpired:
            process.kill()
            return None, process.communicate()[0]


def cases(output):
    """[{name, status, seconds, problem}] from the lines of the runner."""
    found = []
    for line in output.splitlines():
        if match := LINE.match(line):
            found.append({"name": match[2], "status": match[1].lower(), "seconds": float(match[3])})
        elif found and found[-1]["status"] == "failed" and line.startswith("       "):
            found[-1].setdefault("problem", line.strip()[:1000])
    return found


def plain(program, only, path):
    status, output = run([program] + ([only] if only else []), LIMIT_OF_ALL)
    found = cases(output)
    failed = [c for c in found if c["status"] != "ok"]
    part = {"passed": len(found) - len(failed), "failed": len(failed), "exit_status": status, "tests": found}
    if status != 0 and not failed:  # it died
        part["output"] = output[-3000:]
    run_file.put(path, "tests", part)
    for case in failed:
        print(f"FAILED {case['name']}: {case.get('problem', '')}")
    if "output" in part:
        print(part["output"])
    print(f"{part['passed']} passed, {part['failed']} failed, {sum(c['seconds'] for c in found):.0f} s")
    return status == 0


def grouped(tests):
    groups, weight = [], GROUP
    for test in tests:
        if weight + test["seconds"] > GROUP:
            groups.append([])
            weight = 0
        groups[-1].append(test["name"])
        weight += test["seconds"]
    return groups


def under(tool, program, tests, path):
    sanitizer = shutil.which("compute-sanitizer") or os.path.join(os.environ.get("CUDA_HOME", "/usr/local/cuda"), "bin/compute-sanitizer")
    if not os.path.exists(sanitizer):
        print(f"{tool}: not done, there is no compute-sanitizer ({sanitizer})")
        return False
    part = {"groups": []}

    def check(names):
        status, output = run([sanitizer, "--tool", tool, "--error-exitcode", "9", "--print-limit", "20", program, *names], LIMIT)
        done = [c["name"] for c in cases(output)]
        state = "not finished" if status is None else "ok" if status == 0 else "wrong"
        group = {"tests": names, "done": done, "state": state}
        return group | ({"output": output[-4000:]} if state == "wrong" else {})

    with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
        for group in pool.map(check, grouped(tests)):
            part["groups"].append(group)
            run_file.put(path, tool, part)
            if group["state"] == "wrong":
                print(f"{tool}: {', '.join(group['tests'])}\n{group['output']}")
    states = [g["state"] for g in part["groups"]]
    done = sum(len(g["done"]) for g in part["groups"])
    print(f"{tool}: {done} of {len(tests)} tests done, {states.count('wrong')} groups with errors, "
          f"{states.count('not finished')} of {len(states)} groups not finished in {LIMIT} s")  # fmt: skip
    return "wrong" not in states and done > 0


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program")
    parser.add_argument("results")
    parser.add_argument("--tool", action="append", default=[])
    parser.add_argument("--only", default="")
    options = parser.parse_args()
    if not options.tool:
        sys.exit(0 if plain(options.program, options.only, options.results) else 1)
    tests = run_file.load(options.results).get("tests", {}).get("tests")
    if not tests:  # their times make the groups
        plain(options.program, options.only, options.results)
        tests = run_file.load(options.results)["tests"]["tests"]
    tests = [t for t in tests if options.only in t["name"]]
    fine = [under(tool, options.program, tests, options.results) for tool in options.tool]
    sys.exit(0 if all(fine) else 1)


if __name__ == "__main__":
    main()
