"""Table of what build-scripts/bench-language-vs-hf.sh measured: compare_language.py RESULTS ROUNDS --model DIRECTORY [--out FILE.json]."""

import argparse
import json
import statistics
from pathlib import Path

from transformers import AutoTokenizer

# What is compared: title, peft4j's result, Hugging Face's, the number.
ROWS = [
    ("training, rows as they come", "train-peft4j", "train-hf", "tokens_per_second"),
    ("training, beside rows sorted by length", "train-peft4j", "sorted-hf", "tokens_per_second"),
    ("training, packed", "packed-peft4j", "train-hf", "tokens_per_second"),
    ("training, blocks recomputed", "recomputed-peft4j", "train-hf", "tokens_per_second"),
    ("decoding 8 prompts", "generate8-peft4j", "generate8-hf", "decode_tokens_per_second"),
    ("decoding 1 prompt", "generate1-peft4j", "generate1-hf", "decode_tokens_per_second"),
]


ADAPTED = ["all-linear", "q_proj,v_proj"]


def operations_of_a_token(model, rank=8):
    """In training: of the products with W, the head's too (two, of two operations a number), of LoRA's on all linear layers (six
    in all: three each way), and of attention (two products forward, five backward, over half of the keys)."""
    config = json.loads((model / "config.json").read_text())
    hidden, inner, layers = config["hidden_size"], config["intermediate_size"], config["num_hidden_layers"]
    keys = hidden * config["num_key_value_heads"] // config["num_attention_heads"]
    shapes = [(hidden, hidden), (hidden, keys), (hidden, keys), (hidden, hidden)]
    shapes += [(hidden, inner), (hidden, inner), (inner, hidden)]
    frozen = layers * sum(a * b for a, b in shapes) + config["vocab_size"] * hidden
    adapted = layers * rank * sum(a + b for a, b in shapes)
    tokenizer = AutoTokenizer.from_pretrained(model)
    lines = (model / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    lengths = [min(512, len(tokenizer(json.loads(line)["text"])["input_ids"])) for line in lines]
    seen = sum(n * (n + 1) / 2 for n in lengths) / sum(lengths)
    return 4 * frozen, 6 * adapted + layers * 7 * 2 * seen * hidden


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("results", type=Path)
    parser.add_argument("rounds", type=int)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()

    def runs(name):
        return [json.loads((options.results / f"{name}-{i}.json").read_text()) for i in range(1, options.rounds + 1)]

    def middle(name, number):
        return statistics.median(run[number] for run in runs(name))

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
    rate = middle("product", "gflops")
    frozen, rest = operations_of_a_token(options.model)
    reached = middle("train-peft4j", "tokens_per_second") / 1e9 / rate
    share = [reached * frozen, reached * (frozen + rest)]
    print(f"matrix products of 2048 rows: {rate:.1f} GFLOP/s; training has {share[1]:.2f} of that ({share[0]:.2f} in W's products)")
    load = {name: middle("generate1-peft4j", name) for name in ("load_seconds", "load_resident_mb")}
    file = (options.model / "model.safetensors").stat().st_size / 1e6
    print(f"loading {file:.0f} MB: {load['load_seconds']:.2f} s, {load['load_resident_mb'] / file:.2f} of the file resident")
    for targets in ADAPTED:
        kept = middle(f"adapters-{targets}", "adapted_decode_share")
        print(f"16 adapters of rank 8 on {targets}, 16 prompts: {kept:.2f} of the plain model's speed of decoding")
    if options.out:
        adapted = {targets: runs(f"adapters-{targets}") for targets in ADAPTED}
        more = {"product_gflops": rate, "training_share": share, "load": load, "adapters": adapted}
        options.out.write_text(json.dumps({"table": table} | more, indent=1))


if __name__ == "__main__":
    main()
