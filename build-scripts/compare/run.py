"""Trains and measures what methods.txt says and keeps each result; compare-methods.sh tells the options. Standard library only."""

import argparse
import concurrent.futures
import datetime
import fcntl
import hashlib
import json
import math
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
import threading
from pathlib import Path

import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent

DATA = {
    "mails": {
        "model": "models/all-MiniLM-L6-v2",
        "task": {"type": "sequence-classification", "labels": ["ham", "spam"], "max_length": 128},
        "train": "src/examples/data/spamassassin/train.jsonl",
        "test": "src/examples/data/spamassassin/test.jsonl",
        "batch_size": 16,
        "scores": ["accuracy", "macro_f1", "loss"],
    },
    "shakespeare": {
        "model": "src/examples/data/stories260k",
        "task": {"type": "causal-lm", "max_length": 480},  # and soft prompts: the model has 512 positions
        "train": "src/examples/data/shakespeare/train.jsonl",
        "test": "src/examples/data/shakespeare/test.jsonl",
        "batch_size": 8,
        "scores": ["perplexity", "loss"],
    },
}


class Line:
    """A method on a data set: a line of methods.txt."""

    def __init__(self, data, name, seeds, optimizer, method, training):
        self.data, self.name, self.seeds, self.method, self.training = data, name, seeds, method, training
        self.optimizer, self.rate = optimizer.split()
        self.type = re.search(r"\btype: *([\w-]+)", method).group(1)
        self.needs = [(name, int(seed)) for name, seed in re.findall(r"@([^@/]+)/(\d+)@", method)]

    def run_file(self, data, model, steps, seed, output="OUTPUT", adapters=None):
        """The run file: JSON is YAML; what the table says stands in it as it is."""
        training = (self.training or "{}").strip()[1:-1].strip()
        method = re.sub(r"@([^@/]+)/(\d+)@", lambda ref: adapters(ref) if adapters else ref.group(0), self.method)
        return f"""model: {json.dumps(model)}
task: {json.dumps(data["task"])}
data: {{train: {data["train"]}}}
method: {method}
training:
  {{epochs: 1000, max_steps: {steps}, batch_size: {data["batch_size"]}, seed: {seed}, log_every: 50,
   optimizer: {{type: {self.optimizer}, learning_rate: {self.rate}, weight_decay: 0.0}},
   schedule: {{type: linear, warmup_ratio: 0.06}}{", " + training if training else ""}}}
output: {output}
"""


def read_table(text):
    """The lines, and why other methods have none: {(data, name): reason}."""
    lines, reasons = [], {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        cells = [cell.strip() for cell in line.split(" | ")]
        if len(cells) < 4 or cells[0] not in DATA:
            raise SystemExit(f"methods.txt, line {number}: expected DATA | NAME | SEEDS | …, got {line!r}")
        if (cells[0], cells[1]) in reasons or any((other.data, other.name) == (cells[0], cells[1]) for other in lines):
            raise SystemExit(f"methods.txt, line {number}: {cells[0]}:{cells[1]} is there twice")
        if cells[2] == "-":
            reasons[cells[0], cells[1]] = cells[3]
            continue
        try:
            lines.append(Line(cells[0], cells[1], int(cells[2]), cells[3], cells[4], (cells + [""])[5]))
        except (AttributeError, IndexError, ValueError) as error:
            raise SystemExit(f"methods.txt, line {number}: expected {report.FORM}, got {line!r}") from error
    return lines, reasons


def registered(peft4j):
    """The methods that the command line has."""
    out = subprocess.run([peft4j, "methods"], check=True, capture_output=True, text=True).stdout
    return [line.split()[0] for line in out.split("\n\n")[0].splitlines()[1:]]


def write(path, text):
    """All of a file or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)


def numbers_of_head(path):
    """How many numbers of an adapter's file are the task's head, which all methods train alike."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
    return sum(
        math.prod(tensor["shape"])
        for name, tensor in header.items()
        if re.search(r"(^|\.)(classifier|pooler\.dense)\.(weight|bias)$", name) and "xlora" not in name)


class Failed(Exception):
    """A command that did not end well."""


class Comparison:
    def __init__(self, options, lines):
        self.options = options
        self.lines = lines
        self.out = Path(options.out)
        self.peft4j = options.peft4j
        self.children = set()
        self.lock = threading.Lock()
        self.stopped = False
        self.threads = max(1, (os.cpu_count() or 1) // options.jobs)
        DATA["mails"]["model"] = options.model
        self.commit = self.described_commit()

    @staticmethod
    def described_commit():
        try:
            git = lambda *args: subprocess.run(
                ["git", *args], cwd=ROOT, check=True, capture_output=True, text=True).stdout.strip()
            changed = git("status", "--porcelain", "--untracked-files=no", "--", "src", "native", "pom.xml")
            return git("rev-parse", "--short", "HEAD") + (" with changes" if changed else "")
        except (OSError, subprocess.CalledProcessError):
            return "unknown"

    def call(self, *args, threads=None):
        """Runs peft4j; returns what it printed and its peak resident memory in bytes."""
        environment = dict(os.environ)
        if threads:
            environment["OMP_NUM_THREADS"] = str(threads)
        with self.lock:
            if self.stopped:
                raise Failed("stopped")
            child = subprocess.Popen(
                [self.peft4j, *map(str, args)], cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL, start_new_session=True)
            self.children.add(child)
        try:
            told = []
            listener = threading.Thread(target=lambda: told.append(child.stderr.read()))
            listener.start()
            out = child.stdout.read()
            listener.join()
            _, status, usage = os.wait4(child.pid, 0)
            child.returncode = os.waitstatus_to_exitcode(status)
        finally:
            with self.lock:
                self.children.discard(child)
            child.stdout.close()
            child.stderr.close()
        if child.returncode != 0:
            end = (out + told[0]).decode("utf-8", "replace").strip().splitlines()[-3:]
            raise Failed(f"peft4j {args[0]} ended with {child.returncode}: " + " / ".join(end))
        return out.decode("utf-8"), usage.ru_maxrss * 1024

    def stop(self):
        with self.lock:
            self.stopped = True
            for child in self.children:
                child.kill()

    def tokens_of(self, name):
        """Rows and tokens of an epoch, counted once."""
        data = DATA[name]
        kept = self.out / f"tokens-{name}.json"
        key = [data["model"], data["train"], data["task"]]
        if kept.exists():
            found = json.loads(kept.read_text("utf-8"))
            if found["of"] == key:
                return found["rows"], found["tokens"]
        lora = next(line for line in self.lines if line.data == name)
        config = self.out / f"tokens-{name}.yaml"
        write(config, lora.run_file(data, data["model"], 1, 0))
        out, _ = self.call("show", "--config", config)
        lengths = [min(len(json.loads(row)["ids"]), data["task"]["max_length"]) for row in out.splitlines()]
        write(kept, json.dumps({"of": key, "rows": len(lengths), "tokens": sum(lengths)}))
        return len(lengths), sum(lengths)

    def steps(self, name):
        rows, tokens = self.tokens_of(name)
        return max(1, round(self.options.budget / (tokens / rows * DATA[name]["batch_size"])))

    def result_path(self, line, seed):
        return self.out / line.data / f"{line.name}-{seed}.json"

    def adapter_path(self, data, name, seed):
        return (self.out / "adapters" / data / f"{name}-{seed}").resolve()

    def text(self, line, seed):
        data = DATA[line.data]
        return line.run_file(data, data["model"], self.steps(line.data), seed)

    def is_needed(self, line, seed):
        return any(other.data == line.data and (line.name, seed) in other.needs for other in self.lines)

    def kept(self, line, seed):
        """A finished result of the same settings, or None."""
        path = self.result_path(line, seed)
        if not path.exists():
            return None
        result = json.loads(path.read_text("utf-8"))
        if result["run"] != self.text(line, seed):
            return None
        adapter = self.adapter_path(line.data, line.name, seed)
        return None if self.is_needed(line, seed) and not adapter.is_dir() else result

    def adapters(self, line):
        def adapter(reference):
            path = self.adapter_path(line.data, reference.group(1), int(reference.group(2)))
            if not path.is_dir():
                raise Failed(f"it needs {reference.group(1)} with seed {reference.group(2)}, which is not trained")
            return json.dumps(str(path))
        return adapter

    def train(self, line, seed):
        data = DATA[line.data]
        work = self.out / "work" / f"{line.data}-{line.name}-{seed}-{os.getpid()}"
        shutil.rmtree(work, ignore_errors=True)
        work.mkdir(parents=True)
        try:
            run = work / "run"
            config = work / "run.yaml"
            write(config, line.run_file(
                data, data["model"], self.steps(line.data), seed, json.dumps(str(run.resolve())), self.adapters(line)))
            began = datetime.datetime.now(datetime.timezone.utc)
            _, peak = self.call("train", "--config", config, threads=self.threads)
            told, _ = self.call(
                "evaluate", "--model", data["model"], "--adapter", run, "--data", data["test"], threads=self.threads)
            took = datetime.datetime.now(datetime.timezone.utc) - began
            summary = json.loads((run / "run.json").read_text("utf-8"))
            scores = json.loads(told)
            tensors = list(run.rglob("adapter_model.safetensors"))
            result = {
                "data": line.data, "name": line.name, "method": line.type, "seed": seed, "budget": self.options.budget,
                "steps": summary["result"]["steps"], "tokens": summary["result"]["tokens"],
                **{score: scores[score] for score in data["scores"]}, "test_rows": scores["examples"],
                "trained": summary["trainable_parameters"], "model_parameters": summary["model_parameters"],
                "head": numbers_of_head(run / "adapter_model.safetensors"),
                "peak_resident_mb": peak / 1e6, "file_bytes": sum(file.stat().st_size for file in tensors),
                "train_seconds": summary["result"]["seconds"], "seconds": took.total_seconds(),
                "machine": {key: summary["machine"][key] for key in ("processor", "threads", "memory_bytes", "os")},
                "compute": summary["compute"], "versions": summary["versions"], "commit": self.commit,
                "date": began.date().isoformat(), "run": self.text(line, seed),
            }
            if self.is_needed(line, seed):
                adapter = self.adapter_path(line.data, line.name, seed)
                shutil.rmtree(adapter, ignore_errors=True)
                adapter.parent.mkdir(parents=True, exist_ok=True)
                os.replace(run, adapter)
            write(self.result_path(line, seed), json.dumps(result, indent=1) + "\n")
            return result
        finally:
            shutil.rmtree(work, ignore_errors=True)

    def bench(self, name, lines):
        """Speeds beside LoRA's: one call for all, made again when a line has changed."""
        data = DATA[name]
        path = self.out / f"bench-{name}.json"
        configs = self.out / "bench" / name
        texts = {line.name: line.run_file(data, data["model"], 1, 0, "OUTPUT") for line in lines}
        key = hashlib.sha256(json.dumps([texts, self.options.rounds, self.commit]).encode()).hexdigest()
        if path.exists() and json.loads(path.read_text("utf-8"))["key"] == key:
            say(f"{name}: speeds are kept")
            return
        shutil.rmtree(configs, ignore_errors=True)
        files = []
        for line in lines:
            if line.name != "lora":
                try:
                    text = line.run_file(data, data["model"], 1, 0, "not-written", self.adapters(line))
                except Failed as error:
                    say(f"{name}: no speed of {line.name}: {error}")
                    continue
                write(configs / f"{line.name}.yaml", text)
                files += ["--config", configs / f"{line.name}.yaml"]
        say(f"{name}: speeds of {1 + len(files) // 2} methods, by turns with LoRA")
        told = configs / "told.json"
        configs.mkdir(parents=True, exist_ok=True)
        try:
            self.call(
                "bench", "methods", "--model", data["model"], "--data", data["train"], "--task", data["task"]["type"],
                "--set", f"task.max_length={data['task']['max_length']}",
                "--set", f"training.batch_size={data['batch_size']}", "--methods", "lora", *files,
                "--rounds", self.options.rounds, "--json", told)
        except Failed:
            if not told.exists():  # else a method failed, and the others' rows are there
                raise
        measured = json.loads(told.read_text("utf-8"))
        for row in measured["left_out"] + measured["failed"]:
            say(f"{name}: no speed of {row['name']}: {row.get('reason', row.get('error'))}")
        speeds = {row["name"]: {key: value for key, value in row.items() if key != "settings"} for row in measured["rows"]}
        write(path, json.dumps(
            {"key": key, "rows": speeds, "commit": self.commit, "rounds": measured["rounds"], "steps": measured["steps"],
             "machine": measured["machine"]}, indent=1) + "\n")


def say(text):
    print(f"[compare-methods] {text}", flush=True)


def parse():
    parser = argparse.ArgumentParser(prog="compare-methods.sh", description="see the head of build-scripts/compare-methods.sh")
    parser.add_argument("--budget", type=int, default=1_000_000)
    parser.add_argument("--only", default="")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--data", default=",".join(DATA))
    parser.add_argument("--model", default=DATA["mails"]["model"])
    parser.add_argument("--out", default="runs/compare-methods")
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--readme", default="README.md")
    parser.add_argument("--docs", default="docs")
    parser.add_argument("--write", action="store_true")
    parser.add_argument("--list", action="store_true")
    options = parser.parse_args()
    options.peft4j = os.environ.get("PEFT4J", str(ROOT / "target/peft4j/bin/peft4j"))
    for name in ("budget", "jobs", "rounds"):
        if getattr(options, name) < 1:
            parser.error(f"--{name} must be at least 1, got {getattr(options, name)}")
    if options.seeds is not None and options.seeds < 1:
        parser.error(f"--seeds must be at least 1, got {options.seeds}")
    options.data = options.data.split(",")
    for name in options.data:
        if name not in DATA:
            parser.error(f"--data must be of {', '.join(DATA)}, got {name!r}")
    if not os.access(options.peft4j, os.X_OK):
        parser.error(f"no {options.peft4j}; build it first (mvn package -DskipTests), or set PEFT4J to another one")
    if "mails" in options.data and not (Path(options.model) / "model.safetensors").exists():
        parser.error(f"no model in {options.model}; run build-scripts/quickstart.sh first, or give --model")
    report.check(Path(options.readme))
    return options


def interrupted(*_):
    raise KeyboardInterrupt


def only_one(out):
    """Two at once would train the same, and take each other's time; what a killed one was at is thrown away."""
    out.mkdir(parents=True, exist_ok=True)
    lock = open(out / "lock", "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        raise SystemExit(f"compare-methods.sh: another one is at work on {out}; wait for it, or give another --out") from None
    shutil.rmtree(out / "work", ignore_errors=True)
    return lock


def chosen(lines, options):
    names = [name for name in options.only.split(",") if name]
    known = {line.name for line in lines} | {f"{line.data}:{line.name}" for line in lines}
    for name in names:
        if name not in known:
            raise SystemExit(f"compare-methods.sh: --only: {name!r} has no line in build-scripts/compare/methods.txt")
    return [
        line for line in lines
        if line.data in options.data and (not names or line.name in names or f"{line.data}:{line.name}" in names)]


def main():
    options = parse()
    os.chdir(ROOT)
    lines, reasons = read_table((HERE / "methods.txt").read_text("utf-8"))
    there = {line.type for line in lines} | {name for _, name in reasons}
    missing = [name for name in registered(options.peft4j) if name not in there]
    if missing:
        say(f"no line in build-scripts/compare/methods.txt: {', '.join(missing)}")
    comparison = Comparison(options, lines)
    signal.signal(signal.SIGTERM, interrupted)
    lock = only_one(comparison.out)
    failures = []
    try:
        work = [(line, seed) for line in chosen(lines, options) for seed in range(options.seeds or line.seeds)]
        todo = [(line, seed) for line, seed in work if comparison.kept(line, seed) is None]
        say(f"{len(work)} runs, {len(work) - len(todo)} of them kept; {options.budget:,} tokens each: "
            + ", ".join(f"{comparison.steps(name)} steps of {DATA[name]['batch_size']} ({name})" for name in options.data))
        if options.list:
            for line, seed in todo:
                print(f"{line.data}:{line.name} seed {seed}")
            return 0
        if not options.write:
            for part in ([run for run in todo if not run[0].needs], [run for run in todo if run[0].needs]):
                failures += run_all(comparison, part)
            for name in options.data:
                finished = [line for line in lines if line.data == name and comparison.kept(line, 0)]
                if finished:
                    try:
                        comparison.bench(name, finished)
                    except Failed as error:
                        say(f"{name}: no speeds: {error}")
                        failures.append(error)
        results = [
            result for line in lines for seed in range(max(line.seeds, options.seeds or 0))
            if (result := comparison.kept(line, seed))]
    except KeyboardInterrupt:
        comparison.stop()
        say("interrupted; what is finished is kept, call again to go on")
        return 130
    if not results:
        say("nothing is finished: nothing is written")
        return 1
    speeds = {
        name: json.loads(path.read_text("utf-8")) for name in DATA if (path := comparison.out / f"bench-{name}.json").exists()}
    without = {f"{line.data}:{line.name}" for line in lines} - {f"{r['data']}:{r['name']}" for r in results}
    report.write(results, speeds, reasons, sorted(without), Path(options.readme), Path(options.docs))
    say(f"wrote {options.readme} and {options.docs}/methods-comparison.json, .svg")
    lock.close()
    return 1 if failures else 0


def run_all(comparison, runs):
    """Trains; returns those that failed."""
    failures = []

    def one(number, line, seed):
        try:
            result = comparison.train(line, seed)
        except Failed as error:
            if not comparison.stopped:
                say(f"{line.data}:{line.name} seed {seed} FAILED: {error}")
                failures.append(error)
            return
        score = DATA[line.data]["scores"][0]
        say(f"{number}/{len(runs)} {line.data}:{line.name} seed {seed}: {score} {result[score]:.4f}, "
            f"{result['trained']:,} parameters, {result['seconds']:.0f} s")

    with concurrent.futures.ThreadPoolExecutor(comparison.options.jobs) as pool:
        futures = [pool.submit(one, number, line, seed) for number, (line, seed) in enumerate(runs, 1)]
        try:
            for future in futures:
                future.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            comparison.stop()
            raise
    return failures


if __name__ == "__main__":
    sys.exit(main())
