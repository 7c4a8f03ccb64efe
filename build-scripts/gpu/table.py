"""
Prints what a run found: facts, tests, every row of the speeds, and the targets.

    table.py FILE.json…      several files (parts of one run) are read as one: what a later file has replaces it
"""

import json
import pathlib
import sys

import targets


def merged(files):
    data = {}
    for file in files:
        new = json.loads(pathlib.Path(file).read_text())
        old_rows = data.get("speed", {}).get("rows", [])
        if "speed" in new and old_rows:
            again = {r["group"] for r in new["speed"]["rows"]}
            new["speed"]["rows"] = [r for r in old_rows if r["group"] not in again] + new["speed"]["rows"]
        data |= new
    return data


def time_of(row):
    if row.get("error"):
        return f"  {row['error'][:90]}"
    if row["microseconds"] is None:
        return f"{'ran':>11}"
    return f"{row['microseconds']:>9.1f} µs"


def speed_lines(speed):
    rows = speed.get("rows", [])
    if not rows:
        return
    c = speed["ceilings"]
    how = "measured" if speed.get("measured_ceilings") else "assumed"
    yield f"\nspeed: medians; share of the least time at the {how} {c['copy'] / 1e12:.2f} TB/s and {c['matrix'] / 1e12:.0f} TF/s"
    if speed.get("dry_run"):
        yield "a dry run on the processor: nothing was timed"
    last = None
    for row in rows:
        key = (row["operation"], row["case"], row.get("direction"))
        if key != last:
            last = key
            same = [r for r in rows if (r["operation"], r["case"], r.get("direction")) == key]
            peers = [r for r in same if not r.get("contender", "").startswith("peft4j") and r.get("microseconds")]
            yield f"\n{row['operation']}: {row['case']}, {row.get('direction', '')}"
        line = f"  {row.get('contender', ''):26}{time_of(row)}"
        if row.get("microseconds"):
            line += f"  {100 * row['share']:5.1f} %"
            if row["contender"].startswith("peft4j"):
                line += "".join(f"  ×{p['microseconds'] / row['microseconds']:.2f} {p['contender']}" for p in peers[:4])
        if row.get("peak_bytes") is not None:
            line += f"  peak {row['peak_bytes'] / 1e9:.2f} GB"
        yield line


def target_lines(speed):
    rows = targets.Rows(speed)
    yield f"\n{'to reach on an H200':68} {'against':32} {'reach':>9} {'measured':>9}"
    for target in targets.TARGETS:
        value = target.measured(rows)
        found = "-" if value is None else f"{value:.2f}{target.unit}"
        verdict = "" if value is None else "met" if target.met(value) else "NOT MET"
        yield f"{target.kernel:68} {target.against:32} {target!s:>9} {found:>9} {verdict}".rstrip()


def lines(data):
    if "card" in data:
        yield f"{data['card']}, driver {data.get('driver') or '-'}, CUDA {data.get('cuda') or '-'}, PyTorch {data.get('torch') or '-'}, Triton {data.get('triton') or '-'}, PEFT {data.get('peft') or '-'}; commit {data.get('commit')}, {data.get('date')}"  # fmt: skip
    if facts := data.get("facts"):
        matrix = f"{facts['matrix_rate'] / 1e12:.0f} TF/s" if "matrix_rate" in facts else facts.get("matrix_by", "-")
        yield f"{facts['multiprocessors']} multiprocessors, {facts['memory_bytes'] / 1e9:.0f} GB; copy {facts['memcpy_rate'] / 1e12:.2f} TB/s, by a kernel {facts['kernel_copy_rate'] / 1e12:.2f}; bfloat16 product {matrix}"  # fmt: skip
    if tests := data.get("tests"):
        yield f"tests: {tests['passed']} passed, {tests['failed']} failed"
        yield from (f"  FAILED {t['name']}: {t.get('problem', '')}" for t in tests["tests"] if t["status"] != "ok")
    for tool in ("memcheck", "racecheck"):
        if tool in data:
            groups = data[tool]["groups"]
            states = [g["state"] for g in groups]
            yield f"{tool}: {sum(len(g['done']) for g in groups)} tests done, {states.count('ok')} groups right, {states.count('wrong')} wrong, {states.count('not finished')} not finished"  # fmt: skip
            yield from (f"  WRONG {', '.join(g['tests'])}" for g in groups if g["state"] == "wrong")
    if ops := data.get("ops"):
        yield f"ops on {ops['device']}: {sum(ops['right'].values())} right, {len(ops['wrong'])} wrong"
        yield from (f"  WRONG {w}" for w in ops["wrong"])
    if java := data.get("java"):
        yield f"java: {java['passed']} passed, {java['failed']} failed, {java['skipped']} skipped"
    if speed := data.get("speed"):
        yield from speed_lines(speed)
        yield from target_lines(speed)


def main(files):
    print("\n".join(lines(merged(files))))


if __name__ == "__main__":
    if len(sys.argv) < 2:
        sys.exit(__doc__)
    main(sys.argv[1:])
