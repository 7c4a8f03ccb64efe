"""Table of what build-scripts/bench-language-vs-hf.sh measured: compare_language.py RESULTS ROUNDS [--out FILE.json]."""

import argparse
import json
import statistics
from pathlib import Path

# What is compared: title, peft4j's result, Hugging Face's, the number.
ROWS = [
    ("training, rows as they come", "train-peft4j", "train-hf", "tokens_per_second"),
    ("training, beside rows sorted by length", "train-peft4j", "sorted-hf", "tokens_per_second"),
    ("training, packed", "packed-peft4j", "train-hf", "tokens_per_second"),
    ("training, blocks recomputed", "recomputed-peft4j", "train-hf", "tokens_per_second"),
    ("decoding 8 prompts", "generate8-peft4j", "generate8-hf", "decode_tokens_per_second"),
    ("decoding 1 prompt", "generate1-peft4j", "generate1-hf", "decode_tokens_per_second"),
]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    def runs(name):
        return [json.loads((options.results / f"{name}-{i}.json").read_text()) for i in range(1, options.rounds + 1)]

    table = []
    print(f"{'':40} {'peft4j':>8} {'HF':>8} {'ratio':>6}   tokens/s; {'MB':>6} {'MB':>6} {'ratio':>6} peak resident")
    for title, own, other, number in ROWS:
        ours, theirs = runs(own), runs(other)
        speeds = [statistics.median(run[number] for run in many) for many in (ours, theirs)]
        memory = [max(run["peak_resident_mb"] for run in many) for many in (ours, theirs)]
        ratios = [a[number] / b[number] for a, b in zip(ours, theirs)]
        print(
            f"{title:40} {speeds[0]:8.1f} {speeds[1]:8.1f} {statistics.median(ratios):6.2f}             "
            f"{memory[0]:6.0f} {memory[1]:6.0f} {memory[0] / memory[1]:6.2f}"
        )
        table.append({"what": title, "tokens_per_second": speeds, "ratios": ratios, "peak_resident_mb": memory, "runs": [ours, theirs]})
    if options.out:
        options.out.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
