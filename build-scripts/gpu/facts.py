"""
What the card is, and its two ceilings: bytes a second of a large copy, operations a second of a large bfloat16 product of random
numbers by PyTorch's library (without PyTorch none is measured, and the H200's published one is taken).

    facts.py PROGRAM RESULTS
"""

import json
import subprocess
import sys

import predict
import results as run_file

SIZE = 8192  # of the square product


def matrix_rate():
    import torch

    import device

    d = device.TorchDevice()
    a, b = (d.normal(SIZE, SIZE) for _ in range(2))
    times = d.measure({"product": lambda: a @ b}, 25)["product"]
    return {"matrix_rate": 2 * SIZE**3 / (1e-6 * times[len(times) // 2]), "matrix_by": f"PyTorch {torch.__version__}, {SIZE}³, bfloat16"}


def main(program, path):
    facts = json.loads(subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout)
    facts["copy_rate"] = max(facts["memcpy_rate"], facts["kernel_copy_rate"])
    run_file.put(path, "facts", facts)  # the product may fail where the copy did not
    try:
        facts |= matrix_rate()
    except (ImportError, RuntimeError) as error:
        facts["matrix_by"] = f"not measured ({str(error).splitlines()[0]}); {predict.H200.matrix / 1e12:g} TF/s assumed"
    run_file.put(path, "facts", facts)
    rate = f"{facts['matrix_rate'] / 1e12:.0f} TF/s" if "matrix_rate" in facts else facts["matrix_by"]
    print(f"{facts['name']}: {facts['multiprocessors']} multiprocessors, {facts['memory_bytes'] / 1e9:.0f} GB, L2 "
          f"{facts['l2_bytes'] / 1e6:.0f} MB; copies {facts['copy_rate'] / 1e12:.2f} TB/s, bfloat16 products {rate}")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
