"""
Times each operation beside its peers on this card, in one process: contenders take turns, medians, L2 flushed, random data
(device.py), rows into the results file after each case.

    speed.py --cuda-library FILE --results FILE [--torch-library FILE] [--bench-library FILE] [--only OPERATION] [--quick]
             [--cpu-dry-run]

Contenders named peft4j … are ours: by provider through torch.ops, or one kernel of cuda/peft4j_cuda.h. Without PyTorch
(--bench-library) only the kernels and the copy remain. --only takes the name of a function of cases.
"""

import argparse
import os
import sys
import time

import abi
import attention_cases
import device
import linear_cases
import predict
import results as run_file
import step_cases
from cases import HAS_TORCH, Context

OPERATIONS = linear_cases.OPERATIONS + attention_cases.OPERATIONS + step_cases.OPERATIONS


def context(options):
    """(Context, {operation: provider that `auto` takes})"""
    kernels, torch = abi.Library(options.cuda_library), HAS_TORCH and bool(options.torch_library)
    d = device.DryRun() if options.cpu_dry_run else device.TorchDevice() if torch else device.BareDevice(options.bench_library)
    automatic = {}
    if torch:
        import operations

        # In a dry run whole operations take the processor's kernels: the host executor's are too slow.
        operations.load(options.torch_library, None if options.cpu_dry_run else options.cuda_library)
        automatic = {name: provider for name, (provider, _) in operations.kernels(d.kind).items()}
    return Context(d, kernels, torch, options.quick, options.cpu_dry_run), automatic


def measure(c, case, ceilings):
    """Rows of the results: one for each contender."""
    rows, contenders = [], {}
    for name, run in case.contenders.items():
        try:
            case.each(0)
            run()
            contenders[name] = run
        except Exception as error:  # a peer that this PyTorch or this card does not have
            if is_fatal(error):
                raise
            rows.append({"contender": name, "error": str(error).strip().split("\n")[0][:300]})
    times = c.device.measure(contenders, case.repeats, case.each)
    if c.dry and case.check:
        for i, (found, right) in enumerate(case.check()):
            worst = (found.float() - right.float()).abs().max().item()
            if not worst <= 0.02 * max(1.0, right.abs().max().item()):
                raise RuntimeError(f"{case.operation}, {case.case}, {case.direction}: result {i} is off by {worst:.3g}")
    moved, done = predict.total(case.steps)
    least = 1e6 * predict.seconds(case.steps, ceilings)
    for name, found in times.items():
        row = {"contender": name, "microseconds": None}
        if found:
            middle = sum(found) / len(found) if case.mean else found[len(found) // 2]
            row |= {"microseconds": middle, "low": found[len(found) // 10], "high": found[9 * len(found) // 10],
                    "share": least / middle}  # fmt: skip
        if case.memory:
            row["peak_bytes"] = c.device.peak_bytes(contenders[name])
        rows.append(row)
    common = {"operation": case.operation, "case": case.case, "direction": case.direction, "shape": case.shape, "bytes": moved,
              "operations": done, "least_microseconds": least, "repeats": case.repeats}  # fmt: skip
    return [common | row for row in rows]


def is_fatal(error):
    """After an error of a kernel the process's card is gone."""
    text = str(error)
    return "CUDA error" in text and "out of memory" not in text


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cuda-library", required=True)
    parser.add_argument("--results", required=True)
    parser.add_argument("--torch-library")
    parser.add_argument("--bench-library")
    parser.add_argument("--only")
    parser.add_argument("--skip", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--cpu-dry-run", action="store_true")
    options = parser.parse_args()
    if options.cpu_dry_run:
        os.environ["TRITON_INTERPRET"] = "1"
    wanted = [o for o in OPERATIONS if options.only in (None, o.__name__) and o.__name__ not in options.skip.split(",")]
    if not wanted:
        sys.exit(f"speed.py: no operation {options.only}; there are {', '.join(o.__name__ for o in OPERATIONS)}")
    c, automatic = context(options)
    saved = run_file.load(options.results)
    facts = saved.get("facts", {})
    ceilings = predict.Ceilings(facts.get("copy_rate", predict.H200.copy), facts.get("matrix_rate", predict.H200.matrix))
    part = saved.get("speed", {"rows": []})
    part |= {"ceilings": vars(ceilings), "measured_ceilings": "copy_rate" in facts, "dry_run": options.cpu_dry_run, "auto": automatic}
    for index, operation in enumerate(wanted):
        part["rows"] = [row for row in part["rows"] if row["group"] != operation.__name__]
        begin, cases = time.monotonic(), 0
        try:
            for case in operation(c):
                part["rows"] += [{"group": operation.__name__} | row for row in measure(c, case, ceilings)]
                run_file.put(options.results, "speed", part)
                cases += 1
                c.device.release()
        except Exception as error:
            part["rows"].append({"group": operation.__name__, "operation": operation.__name__, "case": "stopped", "error": str(error).split("\n")[0][:300]})
            run_file.put(options.results, "speed", part)
            if c.dry or not is_fatal(error):
                raise
            print(f"{operation.__name__}: {error}; going on with the next operation in a new process", flush=True)
            done = [o.__name__ for o in wanted[: index + 1]]
            arguments = [a for a in sys.argv if not a.startswith("--skip")] + [f"--skip={','.join(done)}"]
            os.execv(sys.executable, [sys.executable, *arguments])
        print(f"{operation.__name__}: {cases} cases ({time.monotonic() - begin:.1f} s)", flush=True)


if __name__ == "__main__":
    main()
