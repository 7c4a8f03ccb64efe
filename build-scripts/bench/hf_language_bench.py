"""Training and generating with a language model in Hugging Face's libraries, for figures beside peft4j's.

    python build-scripts/bench/hf_language_bench.py train --model DIRECTORY --data ROWS.jsonl [--order file|length] [--packed]
    python build-scripts/bench/hf_language_bench.py generate --model DIRECTORY [--prompts N] [--prompt-tokens N] [--new-tokens N]
    python build-scripts/bench/hf_language_bench.py product --model DIRECTORY

train: LoRA r 8, alpha 16 on all linear layers (transformers and PEFT), AdamW, learning rate 5e-4, gradient norm clipped to 1,
texts of the file cut to 512 tokens, each batch padded to its longest text. --order length is the best that padding can do: rows
of like length together. A timed step is forward, backward, clipping and optimizer.
generate: greedy continuation of random prompts with the library's cache, of the lengths that peft4j bench generate has.
product: x Wᵀ of 2048 rows with the matrices of a block, which training is held against.
--dtype bfloat16 trains under torch.autocast over float32 weights; generates with weights of bfloat16. --device cuda:0: on a card, where
training in bfloat16 has the frozen weights in it.
Prints one line of JSON; tokens are counted without padding. Needs build-scripts/fixtures/requirements.txt.
"""

import argparse
import json
import os
import resource
import time
from contextlib import nullcontext
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from peft import LoraConfig, get_peft_model
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

MAX_LENGTH = 512


def read_ids(options, tokenizer):
    with open(options.data, encoding="utf-8") as lines:
        texts = [json.loads(line)["text"] for line in lines]
    return [tokenizer(text)["input_ids"][:MAX_LENGTH] for text in texts]


def finished(options):
    """The time when all that was launched is done."""
    if options.device.type == "cuda":
        torch.cuda.synchronize(options.device)
    return time.perf_counter()


def padded(rows):
    longest = max(map(len, rows))
    ids = torch.zeros(len(rows), longest, dtype=torch.long)
    mask = torch.zeros(len(rows), longest, dtype=torch.long)
    for i, row in enumerate(rows):
        ids[i, : len(row)] = torch.tensor(row)
        mask[i, : len(row)] = 1
    return {"input_ids": ids, "attention_mask": mask, "labels": ids.masked_fill(mask == 0, -100)}


def train(options, tokenizer):
    on_card = options.device.type == "cuda"
    dtype = torch.bfloat16 if on_card and options.dtype == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).to(options.device)
    lora = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules="all-linear")
    model = get_peft_model(model, lora)
    model.train()
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = torch.optim.AdamW(parameters, lr=5e-4, weight_decay=0.01)
    rows = read_ids(options, tokenizer)[: (options.warmup + options.steps) * options.batch]
    if options.order == "length":
        timed = sorted(rows[options.warmup * options.batch :], key=len)
        rows = rows[: options.warmup * options.batch] + timed
    seconds, tokens, losses = 0.0, 0, []
    for step in range(options.warmup + options.steps):
        part = rows[step * options.batch : (step + 1) * options.batch]
        batch = {name: tensor.to(options.device) for name, tensor in padded(part).items()}
        start = finished(options)
        with torch.autocast(options.device.type, dtype=torch.bfloat16) if options.dtype == "bfloat16" else nullcontext():
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        if step >= options.warmup:
            seconds += finished(options) - start
            tokens += sum(map(len, part))
    return {"tokens_per_second": tokens / seconds, "tokens": tokens, "seconds": seconds, "losses": losses}


def prompts(options, vocabulary):
    def length(p):
        mean = options.prompt_tokens
        return mean if options.prompts == 1 else max(1, mean // 2 + p * mean // (options.prompts - 1))

    return [[(p * 7919 + i * 104729) % vocabulary for i in range(length(p))] for p in range(options.prompts)]


def generate(options):
    dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(options.model, dtype=dtype).eval().to(options.device)
    rows = prompts(options, model.config.vocab_size)
    longest = max(map(len, rows))
    ids = torch.tensor([[0] * (longest - len(row)) + row for row in rows], device=options.device)
    mask = torch.tensor([[0] * (longest - len(row)) + [1] * len(row) for row in rows], device=options.device)
    common = dict(attention_mask=mask, do_sample=False, pad_token_id=0, eos_token_id=None)
    with torch.no_grad():
        model.generate(ids, max_new_tokens=2, **common)  # warm
        start = finished(options)
        model.generate(ids, max_new_tokens=1, **common)
        prefill = finished(options) - start
        start = finished(options)
        out = model.generate(ids, max_new_tokens=options.new_tokens, **common)
        total = finished(options) - start
    new = (out.shape[1] - longest) * len(rows)
    return {
        "tokens_per_second": new / total,
        "decode_tokens_per_second": (new - len(rows)) / (total - prefill),
        "prefill_seconds": prefill,
        "seconds": total,
        "new_tokens": new,
        "prompt_tokens": sum(map(len, rows)),
    }


def product(options):
    config = AutoConfig.from_pretrained(options.model)
    dtype = torch.bfloat16 if options.dtype == "bfloat16" else torch.float32
    keys = config.hidden_size * config.num_key_value_heads // config.num_attention_heads
    shapes = [(config.hidden_size + 2 * keys, config.hidden_size), (config.hidden_size, config.hidden_size)]
    shapes += [(2 * config.intermediate_size, config.hidden_size), (config.hidden_size, config.intermediate_size)]
    with torch.no_grad():
        layers = [torch.nn.Linear(i, o, bias=False, dtype=dtype) for o, i in shapes]
        inputs = [torch.randn(2048, i, dtype=dtype) for _, i in shapes]
        seconds = []
        for _ in range(12):
            start = time.perf_counter()
            for layer, x in zip(layers, inputs):
                layer(x)
            seconds.append(time.perf_counter() - start)
    operations = sum(2 * 2048 * o * i for o, i in shapes)
    return {"gflops": operations / sorted(seconds[2:])[5] / 1e9}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["train", "generate", "product"])
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--device", type=torch.device, default="cpu")
    parser.add_argument("--order", choices=["file", "length"], default="file")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=4)
    parser.add_argument("--warmup", type=int, default=1)
    parser.add_argument("--prompts", type=int, default=8)
    parser.add_argument("--prompt-tokens", type=int, default=64)
    parser.add_argument("--new-tokens", type=int, default=64)
    options = parser.parse_args()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if options.what == "train":
        result = train(options, AutoTokenizer.from_pretrained(options.model))
    else:
        result = generate(options) if options.what == "generate" else product(options)
    result |= {
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,  # Linux counts in KiB
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "peft": peft.__version__,
        "transformers": transformers.__version__,
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
