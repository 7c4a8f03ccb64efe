"""A language model of SmolLM2-135M's shape with random weights, and rows of uneven lengths, for benchmarks.

    python build-scripts/bench/smollm_shape.py --tokenizer src/examples/data/stories260k --text TRAIN.jsonl --out DIRECTORY

Writes the model (hidden 576, 30 layers, 9 query and 3 key heads, MLP 1536, vocabulary 49152, tied head, float32), the
tokenizer of another model (its tokens are some of the vocabulary), and rows.jsonl: pieces of the texts of --text of 30 to 512
tokens each, lengths drawn evenly. The same every time. Needs build-scripts/fixtures/requirements.txt.
"""

import argparse
import json
import os
import random
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import torch
import transformers
from transformers import AutoTokenizer, LlamaConfig, LlamaForCausalLM

SEED = 0
SHORTEST, LONGEST = 30, 512


def make_model(out, tokenizer):
    torch.manual_seed(SEED)
    config = LlamaConfig(
        vocab_size=49152,
        hidden_size=576,
        intermediate_size=1536,
        num_hidden_layers=30,
        num_attention_heads=9,
        num_key_value_heads=3,
        max_position_embeddings=8192,
        rope_theta=100000.0,
        rms_norm_eps=1e-5,
        tie_word_embeddings=True,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        dtype="float32",
    )
    model = LlamaForCausalLM(config)
    model.generation_config.eos_token_id = None  # random weights: each text has as many tokens as are asked for
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)


def make_rows(text, tokenizer, count):
    draws = random.Random(SEED)
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    rows, at = [], 0
    for _ in range(count):
        length = draws.randint(SHORTEST, LONGEST)
        if at + length > len(ids):
            at = 0
        rows.append({"text": tokenizer.decode(ids[at : at + length], skip_special_tokens=True)})
        at += length
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokenizer", type=Path, required=True)
    parser.add_argument("--text", type=Path, required=True)
    parser.add_argument("--rows", type=int, default=256)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    make_model(options.out, tokenizer)
    with open(options.text, encoding="utf-8") as lines:
        text = "\n".join(json.loads(line)["text"] for line in lines)
    with open(options.out / "rows.jsonl", "w", encoding="utf-8") as file:
        for row in make_rows(text, tokenizer, options.rows):
            file.write(json.dumps(row) + "\n")


if __name__ == "__main__":
    main()
