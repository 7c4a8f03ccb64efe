"""The benchmark's training job in Hugging Face PEFT on a CPU, for figures beside peft4j's.

    python build-scripts/bench/hf_peft_bench.py --model DIRECTORY --data TRAIN.jsonl [--dtype float32|bfloat16]
        [--steps N] [--warmup K] [--batch 16] [--max-length 256] [--dropout config|0] [--threads N]
        [--save-start-adapter DIRECTORY]

The job: classify mails (fields text and label) with LoRA r 8, alpha 16 on query and value; classifier and pooler train
too, because all-MiniLM-L6-v2 brings neither. AdamW, learning rate 5e-4, weight decay 0.01 on tensors of rank 2 and
more, gradient norm clipped to 1, rows in the order of the file, each batch padded to its longest text.

--dtype    bfloat16 is torch.autocast over float32 weights, what the Trainer of transformers does with bf16=True
--warmup   steps that are trained but not timed
--dropout  config: as config.json says (0.1 for BERT); 0: none
--threads  of torch; without it as many as torch chooses

A timed step is forward, backward, clipping and optimizer. Texts are tokenized and batches padded before the clock
starts. Prints one line of JSON. Tokens are counted without padding; "padded" figures count it.
Needs build-scripts/fixtures/requirements.txt.
"""

import argparse
import json
import os
import platform
import resource
import time
from contextlib import nullcontext
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import peft
import torch
import transformers
from peft import LoraConfig, TaskType, get_peft_model
from transformers import AutoModelForSequenceClassification, AutoTokenizer

LEARNING_RATE = 5e-4
WEIGHT_DECAY = 0.01
CLIP_NORM = 1.0
SEED = 0


def read_rows(path):
    with open(path, encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def first_rows(rows, count):
    """`count` rows; a file that is too short begins again."""
    return [rows[i % len(rows)] for i in range(count)]


def make_batches(arguments, rows, labels):
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    batches = []
    for start in range(0, len(rows), arguments.batch):
        part = rows[start : start + arguments.batch]
        batch = tokenizer(
            [row["text"] for row in part],
            padding=True,
            truncation=True,
            max_length=arguments.max_length,
            return_tensors="pt",
            return_token_type_ids=False,
        )
        batch["labels"] = torch.tensor([labels.index(row["label"]) for row in part])
        batches.append(dict(batch))
    return batches


def make_model(arguments, labels):
    torch.manual_seed(SEED)
    dropout = {}
    if arguments.dropout == "0":
        dropout = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    base = AutoModelForSequenceClassification.from_pretrained(
        arguments.model, num_labels=len(labels), dtype=torch.float32, **dropout
    )
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=8,
        lora_alpha=16,
        lora_dropout=0.0,
        target_modules=["query", "value"],
        modules_to_save=["classifier", "pooler"],
    )
    return get_peft_model(base, lora)


def make_optimizer(parameters):
    groups = [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=LEARNING_RATE)


def precision(dtype):
    return torch.autocast("cpu", dtype=torch.bfloat16) if dtype == "bfloat16" else nullcontext()


def train(arguments, model, batches):
    """Loss and seconds of each step, warm-up included."""
    parameters = [p for p in model.parameters() if p.requires_grad]
    optimizer = make_optimizer(parameters)
    losses, seconds = [], []
    model.train()
    for batch in batches:
        start = time.perf_counter()
        with precision(arguments.dtype):
            loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters, CLIP_NORM)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
        seconds.append(time.perf_counter() - start)
    return losses, seconds


def cpu_facts():
    model, flags = platform.processor(), []
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name":
                model = value.strip()
            if name.strip() == "flags":
                flags = value.split()
    return {
        "cpu": model,
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "avx512_bf16": "yes" if "avx512_bf16" in flags else "no",
    }


def report(arguments, losses, seconds, batches):
    timed_seconds, timed_batches = seconds[arguments.warmup :], batches[arguments.warmup :]
    total = sum(timed_seconds)
    real = sum(int(batch["attention_mask"].sum()) for batch in timed_batches)
    padded = sum(batch["attention_mask"].numel() for batch in timed_batches)
    return {
        "tokens_per_second": real / total,
        "padded_tokens_per_second": padded / total,
        "tokens": real,
        "padded_tokens": padded,
        "seconds": total,
        "seconds_per_step": timed_seconds,
        "losses": losses,
        "peak_resident_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,  # Linux counts in KiB
        "dtype": arguments.dtype,
        "steps": arguments.steps,
        "warmup": arguments.warmup,
        "batch": arguments.batch,
        "max_length": arguments.max_length,
        "dropout": arguments.dropout,
        "threads": torch.get_num_threads(),
        **cpu_facts(),
        "torch": torch.__version__,
        "peft": peft.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
    }


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=3)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--dropout", choices=["config", "0"], default="config")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--save-start-adapter", type=Path)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    rows = read_rows(arguments.data)
    labels = sorted({row["label"] for row in rows})
    rows = first_rows(rows, (arguments.warmup + arguments.steps) * arguments.batch)
    batches = make_batches(arguments, rows, labels)
    model = make_model(arguments, labels)
    if arguments.save_start_adapter:
        model.save_pretrained(arguments.save_start_adapter, save_embedding_layers=False)
    losses, seconds = train(arguments, model, batches)
    print(json.dumps(report(arguments, losses, seconds, batches)))


if __name__ == "__main__":
    main()
