"""Table of what build-scripts/bench-vs-hf-peft.sh measured: compare.py RESULTS ROUNDS [--out FILE.json]."""

import argparse
import json
import statistics
from pathlib import Path


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    table = {}
    print(f"{'dtype':10} {'peft4j':>10} {'PEFT':>10} {'ratio':>7}   tokens/s; {'MB':>6} {'MB':>6} peak resident")
    for dtype in ("float32", "bfloat16"):
        runs = {
            name: [json.loads((options.results / f"{name}-{dtype}-{i}.json").read_text()) for i in range(1, options.rounds + 1)]
            for name in ("peft4j", "peft")
        }
        speed = {name: statistics.median(run["tokens_per_second"] for run in many) for name, many in runs.items()}
        memory = {name: max(run["peak_resident_mb"] for run in many) for name, many in runs.items()}
        ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(runs["peft4j"], runs["peft"])]
        ratio = statistics.median(ratios)
        print(
            f"{dtype:10} {speed['peft4j']:10.0f} {speed['peft']:10.0f} {ratio:7.2f}             "
            f"{memory['peft4j']:6.0f} {memory['peft']:6.0f}"
        )
        table[dtype] = {"tokens_per_second": speed, "ratio": ratio, "ratios": ratios, "peak_resident_mb": memory, "runs": runs}
    if options.out:
        options.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
