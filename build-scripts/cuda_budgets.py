"""
Holds what ptxas said of each kernel (the .ptxas files of a build) against cuda/budgets.txt. What it calls a loss of performance is an
error whatever the budget says.

    cuda_budgets.py BUDGETS BUILD_FOLDER [--record]

A line of the budget: source, kernel, then for each architecture registers/bytes of spills/bytes of static shared memory.
"""
import pathlib
import re
import subprocess
import sys


def read_build(folder):
    """{(source, kernel): {architecture: (registers, spills, shared)}}"""
    found = {}
    for log in sorted(pathlib.Path(folder).rglob("*.ptxas")):
        source = log.name.split(".")[0]
        kernel = architecture = None
        spills = 0
        for line in log.read_text().splitlines():
            if m := re.search(r"Compiling entry function '(\S+)' for '(sm_\w+)'", line):
                kernel, architecture = m.groups()
            elif m := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
                spills = int(m[1]) + int(m[2])
            elif m := re.search(r"Used (\d+) registers", line):
                shared = re.search(r"(\d+) bytes smem", line)
                numbers = (int(m[1]), spills, int(shared[1]) if shared else 0)
                found.setdefault((source, kernel), {})[architecture] = numbers
    names = subprocess.run(["c++filt"], input="\n".join(k for _, k in found), capture_output=True, text=True, check=True)
    return {
        (source, short(name)): numbers for ((source, _), numbers), name in zip(found.items(), names.stdout.splitlines())
    }


def warnings(folder):
    """What ptxas calls a loss of performance, as wgmma's that wait for each other."""
    found = set()
    for log in sorted(pathlib.Path(folder).rglob("*.ptxas")):
        for line in log.read_text().splitlines():
            if m := re.search(r"Potential Performance Loss: (.*)", line):
                found.add(f"{log.name.split('.')[0]}: {m[1]}")
    return sorted(found)


def short(name):
    """Without return type, namespaces and arguments: fixed_order_sum<4>"""
    name = re.sub(r"\(anonymous namespace\)::|peft4j::cuda::", "", name)
    name = re.sub(r"^void ", "", name)
    depth = 0
    for i, c in enumerate(name):
        depth += (c == "<") - (c == ">")
        if c == "(" and depth == 0 and not name[i:].startswith("(int)"):
            name = name[:i]
            break
    return re.sub(r"\(\w+\)", "", name).replace(" ", "")


def main(budgets, folder, record):
    found = read_build(folder)
    if not found:
        sys.exit(f"cuda_budgets.py: no kernel found under {folder}")
    if losses := warnings(folder):
        sys.exit("\n".join(losses))
    lines = ["# source kernel architecture:registers/spilled bytes/static shared bytes …; written by build-scripts/build-cuda.sh --record"]
    for (source, kernel), numbers in sorted(found.items()):
        lines.append(" ".join([source, kernel] + [f"{a}:{'/'.join(map(str, n))}" for a, n in sorted(numbers.items())]))
    path = pathlib.Path(budgets)
    if record:
        path.write_text("\n".join(lines) + "\n")
        return
    allowed = {}
    for line in path.read_text().splitlines() if path.exists() else []:
        if not line.startswith("#"):
            source, kernel, *rest = line.split()
            allowed[source, kernel] = {a: tuple(map(int, n.split("/"))) for a, n in (r.split(":") for r in rest)}
    problems = []
    for key, numbers in sorted(found.items()):
        for architecture, now in sorted(numbers.items()):
            budget = allowed.get(key, {}).get(architecture)
            if budget is None:
                problems.append(f"{' '.join(key)} on {architecture} has no budget: {now}")
            elif any(n > b for n, b in zip(now, budget)):
                problems.append(f"{' '.join(key)} on {architecture}: registers, spills, shared {now}, budget {budget}")
    problems += [f"{' '.join(key)} is in the budget but not in the build" for key in sorted(allowed.keys() - found.keys())]
    if problems:
        sys.exit("\n".join(problems) + f"\nbuild-scripts/build-cuda.sh --record accepts this into {path.name}")
    print(f"{len(found)} kernels within their budgets")


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], "--record" in sys.argv[3:])
