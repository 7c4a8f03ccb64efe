"""
What the card is, and its two ceilings: bytes a second of a large copy, operations a second of a large bfloat16 product of random
numbers by PyTorch's library (without PyTorch by our dual_gemm, which is less).

    facts.py PROGRAM RESULTS CUDA_LIBRARY BENCH_LIBRARY
"""

import json
import subprocess
import sys

import abi
import cases
import device
import results as run_file

SIZE = 8192  # of the square product


def product(cuda_library, bench_library):
    """(run, device, by whom)"""
    if cases.HAS_TORCH:
        import torch

        d = device.TorchDevice()
        a, b = d.normal(SIZE, SIZE), d.normal(SIZE, SIZE)
        return lambda: a @ b, d, f"PyTorch {torch.__version__}"
    d, kernels = device.BareDevice(bench_library), abi.Library(cuda_library)
    c = cases.Context(d, kernels)
    a, b, y = d.normal(SIZE, SIZE), d.normal(SIZE, SIZE), d.empty(SIZE, SIZE)
    pair = c.struct("gemm_pair", x=a, w=b, k=SIZE, x_stride=SIZE, w_stride=SIZE)
    return c.kernel("dual_gemm", c.struct("gemm", pairs=[pair], count=1, dtype=1, y=y, t=SIZE, n=SIZE, y_stride=SIZE)), d, "dual_gemm"


def main(program, path, *libraries):
    facts = json.loads(subprocess.run([program], check=True, stdout=subprocess.PIPE, text=True).stdout)
    facts["copy_rate"] = max(facts["memcpy_rate"], facts["kernel_copy_rate"])
    run_file.put(path, "facts", facts)  # the product may fail where the copy did not
    run, d, by = product(*libraries)
    times = d.measure({"product": run}, 25)["product"]
    facts |= {"matrix_rate": 2 * SIZE**3 / (1e-6 * times[len(times) // 2]), "matrix_by": f"{by}, {SIZE}³, bfloat16"}
    run_file.put(path, "facts", facts)
    print(f"{facts['name']}: {facts['multiprocessors']} multiprocessors, {facts['memory_bytes'] / 1e9:.0f} GB, L2 "
          f"{facts['l2_bytes'] / 1e6:.0f} MB; copies {facts['copy_rate'] / 1e12:.2f} TB/s, multiplies {facts['matrix_rate'] / 1e12:.0f} TF/s "
          f"({facts['matrix_by']})")  # fmt: skip


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    main(*sys.argv[1:])
