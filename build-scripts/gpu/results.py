"""
The JSON of one run of gpu-check.sh. Each part writes what it has as soon as it has it: a run that is cut loses nothing, and
a later call on the same day, card and commit goes on in the same file.

    results.py begin FOLDER     makes the file with card, driver, versions, commit and date, and prints its path
"""

import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]


def output_of(*command):
    """What a command prints, or "" where it is missing or fails."""
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return ""


def load(path):
    try:
        return json.loads(pathlib.Path(path).read_text())
    except FileNotFoundError:
        return {}


def save(path, data):
    path = pathlib.Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(f".tmp{os.getpid()}")
    temporary.write_text(json.dumps(data, indent=1) + "\n")
    os.replace(temporary, path)


def put(path, part, value):
    save(path, {**load(path), part: value})


def environment():
    card = output_of("nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader", "-i", "0")
    name, driver, memory = (card.split(", ") + [""] * 3)[:3] if card else ("", "", "")
    nvcc = re.search(r"release ([\d.]+)", output_of(os.environ.get("NVCC", "nvcc"), "--version"))
    versions = {}
    for package in ("torch", "triton", "peft", "transformers"):
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "card": name or "none",
        "memory": memory,
        "driver": driver,
        "cuda": nvcc[1] if nvcc else "",
        "python": sys.version.split()[0],
        **versions,
        "commit": os.environ.get("PEFT4J_COMMIT") or output_of("git", "describe", "--always", "--dirty", "--abbrev=10") or "unknown",
        "date": time.strftime("%Y-%m-%d"),
    }  # fmt: skip


def file_name(facts):
    parts = [facts["card"].removeprefix("NVIDIA "), facts["date"], facts["commit"]]
    return "-".join(re.sub(r"[^A-Za-z0-9._]+", "-", part).lower() for part in parts) + ".json"


def begin(folder):
    facts = environment()
    path = pathlib.Path(folder) / file_name(facts)
    save(path, {**load(path), **facts})
    return path


if __name__ == "__main__":
    if len(sys.argv) != 3 or sys.argv[1] != "begin":
        sys.exit(__doc__)
    print(begin(sys.argv[2]))
