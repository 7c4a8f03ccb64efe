"""
Times each operation beside its peers on this card, in one process: contenders take turns, medians, L2 flushed, random data
(device.py), rows into the results file after each case.

    speed.py --cuda-library FILE --results FILE [--torch-library FILE] [--bench-library FILE] [--only OPERATION] [--quick]
             [--cpu-dry-run]

Contenders named peft4j … are ours: by provider through torch.ops, or one kernel of cuda/peft4j_cuda.h. The first peer is who
the ratio is to. Without PyTorch (--bench-library) only the kernels and the copy remain.
"""

import argparse
import importlib.util
import itertools
import os
import random as dice
import sys
import time
from dataclasses import dataclass, field
from typing import Callable

import abi
import device as devices
import predict
import results as run_file

HAS_TORCH = importlib.util.find_spec("torch") is not None


@dataclass
class Case:
    operation: str
    case: str
    direction: str  # forward, backward, forward + backward
    steps: list  # predict.Step
    contenders: dict  # name -> run; the first that is not ours is who the ratio is to
    shape: dict = field(default_factory=dict)  # what targets.py looks for
    repeats: int = 25
    each: Callable = lambda i: None  # before each repeat
    mean: bool = False  # of different work in each repeat, else the median
    memory: bool = False  # peak memory of a run as well


class Context:
    """What the cases draw on."""

    def __init__(self, options):
        self.quick, self.dry = options.quick, options.cpu_dry_run
        self.torch = HAS_TORCH and bool(options.torch_library)
        if options.cpu_dry_run:
            self.device = devices.DryRun()
        elif self.torch:
            self.device = devices.TorchDevice()
        else:
            self.device = devices.BareDevice(options.bench_library)
        self.kernels = abi.Library(options.cuda_library) if options.cuda_library else None
        if self.torch:
            import operations

            # On a processor the executor's library takes our kernels' way, which is too slow for whole operations.
            operations.load(options.torch_library, None if options.cpu_dry_run else options.cuda_library)
            self.automatic = {name: choice[0] for name, choice in operations.kernels(self.device.kind).items()}

    def size(self, full, tiny):
        return tiny if self.dry else full

    def some(self, shapes, tiny):
        """The shapes of a case: all, one, or a tiny one."""
        return [tiny] if self.dry else shapes[:1] if self.quick else shapes

    def normal(self, *shape, **more):
        return self.device.normal(*shape, **more)

    def has(self, *names):
        return self.kernels is not None and all(self.kernels.has(name) for name in names)

    def kernel(self, name, *arguments):
        """A call of peft4j_cuda.h on arrays and numbers, with the stream last."""
        d = self.device
        real = [d.pointer(a) if hasattr(a, "shape") else a for a in arguments]
        return lambda: getattr(self.kernels, name)(*real, d.stream)

    def copying(self, n_bytes):
        """A copy that moves n_bytes, read and written."""
        start = self.device.normal(max(1, int(n_bytes) // 8), type="float32")
        to = self.device.empty(*start.shape, type="float32")
        return lambda: self.device.copy(to, start)

    def providers(self, operation, names, make):
        """{peft4j NAME: run} for those that the operation has on this device; make() runs it."""
        import operations

        contenders = {}
        for name in names:
            if operations.has(operation, name, self.device.kind):

                def run(name=name):
                    operations.set_kernels(f"{operation}={name}")
                    make()
                    operations.set_kernels("auto")

                contenders[f"peft4j {name}"] = run
        return contenders

    def compiled(self, function):
        import torch

        return torch.compile(function, backend="eager" if self.dry else "inductor", dynamic=False)


def both(forward, inputs):
    """Forward, then the gradients of the inputs for a fixed gradient of the result."""
    import torch

    kept = {}

    def run():
        y = forward()
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        if "dy" not in kept:
            kept["dy"] = [torch.randn_like(t) for t in ys]
        torch.autograd.grad(ys, inputs, kept["dy"])

    return run


def without_graph(forward):
    import torch

    def run():
        with torch.no_grad():
            forward()

    return run


# ---- lora_linear

LAYER = [(N, K) for _, N, K, _ in predict.LAYER_8B]


def lora_linear(c):
    if not c.torch:
        return
    shapes_8b = [(4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336)]
    sizes = [(N, K, 4096, 16, p) for p in (0.1, 0.0) for N, K in shapes_8b]
    sizes += [(N, K, T, 16, 0.1) for T in (8192, 16384) for N, K in shapes_8b]
    sizes += [(N, K, 4096, r, 0.1) for r in (8, 64) for N, K in shapes_8b]
    sizes += [(N, K, 8192, 16, 0.1) for N, K in [(2048, 2048), (512, 2048), (8192, 2048)]]
    sizes += [(N, K, 8192, 8, 0.1) for N, K in [(384, 384), (1536, 384)]]
    if c.quick:
        sizes = sizes[:4]  # a layer
    for N, K, T, r, p in [(24, 16, 10, 4, 0.1)] if c.dry else sizes:
        for direction in ("forward + backward",) if (T, r) != (4096, 16) else ("forward", "forward + backward"):
            yield _lora(c, N, K, T, r, p, direction, compile=c.dry or (T, r, p) == (4096, 16, 0.1))
    if not c.quick:
        for p in (0.1, 0.0):
            for group in ("qkv", "gate, up"):
                yield _lora_group(c, group, c.size(4096, 10), c.size(16, 4), p)
    for group in dict.fromkeys(g for _, _, _, g in predict.LAYER_8B):
        yield _lora_many(c, group, c.size(8192, 64), 8, c.size(16, 4))


def _lora(c, N, K, T, r, p, direction, compile):
    import torch
    import torch.nn.functional as F

    import operations
    import peers

    w = c.normal(N, K, deviation=K**-0.5)
    x = c.normal(T, K).requires_grad_()
    a32, b32 = (c.normal(*s, type="float32", deviation=0.02).requires_grad_() for s in [(r, K), (N, r)])
    a, b = (t.detach().bfloat16().requires_grad_() for t in (a32, b32))
    backward = direction != "forward"
    whole = both if backward else lambda forward, inputs: without_graph(forward)
    ours = operations.weight([w])
    model = peers.peft_linear(w, r, p).train()
    adapters = [q for q in model.parameters() if q.requires_grad]
    contenders = {
        "eager": whole(lambda: peers.lora_eager(x, w, a, b, 2.0, p), [x, a, b]),
        "frozen alone": whole(lambda: F.linear(x, w), [x]),
        "PEFT": whole(lambda: model(x), [x, *adapters]),
    }
    if p == 0:
        contenders["addmm_"] = whole(lambda: peers.LoraInPlace.apply(x, w, a, b, 2.0), [x, a, b])
    if compile:
        fast = c.compiled(peers.lora_eager)
        contenders["compile"] = whole(lambda: fast(x, w, a, b, 2.0, p), [x, a, b])
    forward = lambda: operations.lora_linear(x, ours, [a32], [b32], [0, 0, T], [2.0], [p])  # noqa: E731
    contenders |= c.providers("lora_linear", ("library", "own"), whole(forward, [x, a32, b32]))
    shape = {"N": N, "K": K, "T": T, "r": r, "dropout": p}
    name = f"{N} x {K}, T {T}, r {r}, dropout {p}"
    return Case("lora_linear", name, direction, predict.lora_linear(T, K, N, r, backward), contenders, shape)


def _members(c, group):
    members = [(N, K) for _, N, K, g in predict.LAYER_8B if g == group]
    return [(c.size(N, 16), c.size(K, 16)) for N, K in members]


def _lora_group(c, group, T, r, p):
    """Query, key and value, or gate and up, which share [x | h]."""
    import torch

    import operations
    import peers

    members = _members(c, group)
    K = members[0][1]
    x = c.normal(T, K).requires_grad_()
    parts = [c.normal(N, K, deviation=K**-0.5) for N, _ in members]
    a32 = [c.normal(r, K, type="float32", deviation=0.02).requires_grad_() for _ in members]
    b32 = [c.normal(N, r, type="float32", deviation=0.02).requires_grad_() for N, _ in members]
    a, b = ([t.detach().bfloat16().requires_grad_() for t in ts] for ts in (a32, b32))
    ours, n = operations.weight(parts), len(members)
    place = [number for i in range(n) for number in (i, 0, T)]
    contenders = {
        "eager": both(lambda: [peers.lora_eager(x, *wab, 2.0, p) for wab in zip(parts, a, b)], [x, *a, *b]),
        "frozen alone": both(lambda: [torch.nn.functional.linear(x, w) for w in parts], [x]),
        **c.providers("lora_linear", ("library", "own"), both(
            lambda: operations.lora_linear(x, ours, a32, b32, place, [2.0] * n, [p] * n), [x, *a32, *b32])),
    }  # fmt: skip
    steps = [s for N, _ in members for s in predict.lora_linear(T, K, N, r, True)]
    shape = {"group": group, "T": T, "r": r, "dropout": p}
    return Case("lora_linear", f"group {group}, T {T}, r {r}, dropout {p}", "forward + backward", steps, contenders, shape)


def _lora_many(c, group, T, tenants, r):
    """A batch of several tenants' rows, each with its own adapter on every member of the group; forward."""
    import torch

    import operations

    members = _members(c, group)
    K, total = members[0][1], sum(N for N, _ in members)
    x = c.normal(T, K)
    parts = [c.normal(N, K, deviation=K**-0.5) for N, _ in members]
    stacked, ours = torch.cat(parts), operations.weight(parts)
    a, b, place = [], [], []
    for j, i in itertools.product(range(tenants), range(len(members))):
        a.append(c.normal(r, K, type="float32", deviation=0.02))
        b.append(c.normal(members[i][0], r, type="float32", deviation=0.02))
        place += [i, j * T // tenants, (j + 1) * T // tenants]
    contenders = {
        "frozen alone": without_graph(lambda: torch.nn.functional.linear(x, stacked)),
        **c.providers("lora_linear", ("library", "own"), without_graph(
            lambda: operations.lora_linear(x, ours, a, b, place, [2.0] * len(a)))),
    }  # fmt: skip
    steps = predict.product(T, K + tenants * r, total)
    shape = {"tenants": tenants, "group": group, "T": T, "r": r}
    return Case("lora_linear", f"{tenants} adapters of rank {r} in one batch, {group}, T {T}", "forward", steps, contenders, shape)


# ---- attention

HEADS = (32, 8, 128)  # an 8B model's


def _packed(c, lengths, Hq, Hkv, D):
    import torch

    T = sum(lengths)
    q, k, v = (c.normal(T, h, D).requires_grad_() for h in (Hq, Hkv, Hkv))
    cu = torch.tensor([0, *itertools.accumulate(lengths)])
    return q, k, v, cu, cu.int().to(q.device)


def attention(c):
    if not c.torch:
        return
    fixed = [(4, 4096, True, *HEADS), (8, 2048, True, *HEADS), (2, 8192, True, *HEADS), (1, 16384, True, *HEADS),
             (4, 4096, False, *HEADS), (8, 2048, True, 32, 8, 64), (64, 256, False, 12, 12, 32)]  # fmt: skip
    for sequences, length, causal, Hq, Hkv, D in c.some(fixed, (2, 8, True, 2, 1, 32)):
        for direction in ("forward", "forward + backward"):
            yield _attention_fixed(c, sequences, length, causal, Hq, Hkv, D, direction)
    yield _attention_ragged(c)
    for P in (4, 64):
        yield _attention_prefix(c, P)


def _attention_fixed(c, sequences, length, causal, Hq, Hkv, D, direction):
    import operations
    import peers

    q, k, v, cu, device_cu = _packed(c, [length] * sequences, Hq, Hkv, D)
    apart = [t.view(sequences, length, -1, D).transpose(1, 2) for t in (q, k, v)]
    backward = direction != "forward"
    whole = both if backward else lambda forward, inputs: without_graph(forward)
    contenders = {f"SDPA {backend}": whole(lambda backend=backend: peers.sdpa(*apart, causal, backend), [q, k, v])
                  for backend in c.size(("flash", "cudnn"), ("math",))}  # fmt: skip
    if not c.dry:
        contenders["flash varlen"] = whole(lambda: peers.varlen(q, k, v, device_cu, length, causal), [q, k, v])
    contenders |= c.providers("attention", ("library", "own"), whole(
        lambda: operations.attention(q, k, v, cu, causal=causal), [q, k, v]))  # fmt: skip
    steps = predict.attention([length] * sequences, Hq, Hkv, D, causal, backward=backward)
    name = f"{sequences} x {length}, {Hq}/{Hkv} heads of {D}, {'causal' if causal else 'full'}"
    shape = {"kind": "fixed", "length": length, "causal": causal, "D": D}
    return Case("attention", name, direction, steps, contenders, shape)


def ragged_lengths(T, seed, longest):
    """Lengths of a packed batch: log-uniform between 16 and the longest, to a sum of T."""
    numbers, lengths = dice.Random(seed), []
    while (left := T - sum(lengths)) > 0:
        lengths.append(min(left, int(16 * (longest / 16) ** numbers.random())))
    return lengths


def _attention_ragged(c):
    import operations
    import peers

    Hq, Hkv, D = c.size(HEADS, (2, 1, 32))
    T, longest, packings = c.size((16384, 4096, 20 if c.quick else 200), (64, 32, 2))
    batches = [ragged_lengths(T, seed, longest) for seed in range(packings)]
    q, k, v, _, _ = _packed(c, batches[0], Hq, Hkv, D)
    now = {}

    def each(i):  # a model's first layer has brought the lengths to the card
        import torch

        now["cu"] = torch.tensor([0, *itertools.accumulate(batches[i])])
        now["device_cu"], now["longest"] = now["cu"].int().to(q.device), max(batches[i])
        operations.attention(q.detach(), k.detach(), v.detach(), now["cu"], causal=True)

    contenders = {"flash varlen": both(lambda: peers.varlen(q, k, v, now["device_cu"], now["longest"], True), [q, k, v])}
    if c.dry:
        contenders = {}
    contenders |= c.providers("attention", ("library", "own"), both(
        lambda: operations.attention(q, k, v, now["cu"], causal=True), [q, k, v]))  # fmt: skip
    every = [predict.attention(b, Hq, Hkv, D, True, backward=True) for b in batches]
    steps = [predict.Step(sum(s[i].bytes for s in every) / len(every), sum(s[i].operations for s in every) / len(every)) for i in (0, 1)]
    name = f"{packings} different packings of {T}, {Hq}/{Hkv} heads of {D}, causal"
    return Case("attention", name, "forward + backward", steps, contenders, {"kind": "ragged"}, packings, each, mean=True)


def _attention_prefix(c, P):
    """Packed rows and a shared prefix in place, against padded rows and concatenated keys."""
    import torch

    import operations
    import peers

    Hq, Hkv, D = c.size(HEADS, (2, 1, 32))
    lengths = c.size(ragged_lengths(16384, 1, 1024), [3, 7])
    S, longest = len(lengths), max(lengths)
    q, k, v, cu, _ = _packed(c, lengths, Hq, Hkv, D)
    prefix_k, prefix_v = (c.normal(P, Hkv, D).requires_grad_() for _ in range(2))
    padded = [c.normal(S, h, longest, D).requires_grad_() for h in (Hq, Hkv, Hkv)]
    front = [c.normal(Hkv, P, D).requires_grad_() for _ in range(2)]
    position = torch.arange(longest, device=q.device)
    seen = position.unsqueeze(0) <= position.unsqueeze(1)
    inside = position.unsqueeze(0) < torch.tensor(lengths, device=q.device).unsqueeze(1)
    mask = torch.cat([inside.new_ones(S, longest, P), seen.unsqueeze(0) & inside.unsqueeze(1)], 2).unsqueeze(1)
    contenders = {
        "padded, concatenated keys": both(lambda: peers.padded_with_prefix(*padded, *front, mask), [*padded, *front]),
        **c.providers("attention", ("library", "own"), both(
            lambda: operations.attention(q, k, v, cu, prefix_k=prefix_k, prefix_v=prefix_v, causal=True), [q, k, v, prefix_k, prefix_v])),
    }  # fmt: skip
    steps = predict.attention(lengths, Hq, Hkv, D, True, P, backward=True)
    name = f"prefix of {P}, {S} sequences to {longest} rows, {Hq}/{Hkv} heads of {D}, causal"
    return Case("attention", name, "forward + backward", steps, contenders, {"kind": "prefix", "P": P})


# ---- one pass


def layer_norm(c):
    if not c.torch:
        return
    import operations
    import peers

    for T, C in c.some([(8192, 4096), (16384, 1024), (65536, 384)], (3, 16)):
        x, residual = (c.normal(T, C).requires_grad_() for _ in range(2))
        weight, bias = c.normal(C), c.normal(C)
        fast = c.compiled(peers.layer_norm)
        for direction, whole, steps in [
            ("forward", lambda forward, inputs: without_graph(forward), predict.elements(T * C, 2, 1)),
            ("forward + backward", both, predict.elements(T * C, 2, 2) + predict.elements(T * C, 2, 1)),
        ]:
            contenders = {
                "copy": c.copying(predict.total(steps)[0]),
                "eager": whole(lambda: peers.layer_norm(x, residual, weight, bias, 1e-5), [x, residual]),
                "compile": whole(lambda: fast(x, residual, weight, bias, 1e-5), [x, residual]),
                **c.providers("layer_norm", ("own",), whole(lambda: operations.layer_norm(x, residual, weight, bias), [x, residual])),
            }
            yield Case("layer_norm", f"{T} x {C}, residual", direction, steps, contenders, {"kind": "norm", "C": C})


def gelu(c):
    if not c.torch:
        return
    import torch.nn.functional as F

    import operations

    T, C = c.size((8192, 14336), (3, 16))
    x = c.normal(T, C).requires_grad_()
    for direction, whole, steps in [
        ("forward", lambda forward, inputs: without_graph(forward), predict.elements(T * C, 1, 1)),
        ("forward + backward", both, predict.elements(T * C, 1, 1) + predict.elements(T * C, 2, 1)),
    ]:
        contenders = {
            "copy": c.copying(predict.total(steps)[0]),
            "eager": whole(lambda: F.gelu(x), [x]),
            **c.providers("gelu", ("own", "library"), whole(lambda: operations.gelu(x), [x])),
        }
        yield Case("gelu", f"{T} x {C}", direction, steps, contenders, {"kind": "mlp"})


def dropout(c):
    if not c.torch:
        return
    import torch.nn.functional as F

    import operations

    T, C = c.size((8192, 4096), (3, 16))
    x = c.normal(T, C).requires_grad_()
    steps = predict.elements(T * C, 1, 1) * 2
    contenders = {
        "copy": c.copying(predict.total(steps)[0]),
        "eager": both(lambda: F.dropout(x, 0.1), [x]),
        **c.providers("dropout", ("own",), both(lambda: operations.dropout(x, 0.1), [x])),
    }
    yield Case("dropout", f"{T} x {C}, p 0.1", "forward + backward", steps, contenders)


def fixed_order_sum(c):
    for n, splits in c.some([(16 * 14336, 132), (16 * 4096, 16)], (32, 3)):
        partials, out = c.normal(splits, n, type="float32"), c.normal(n, type="float32")
        steps = predict.elements(n, splits, 1, size=4)
        contenders = {"copy": c.copying(predict.total(steps)[0])}
        if c.torch:
            contenders["eager"] = lambda: partials.sum(0)
        if c.has("fixed_order_sum"):
            contenders["peft4j kernel"] = c.kernel("fixed_order_sum", out, partials, n, splits, 0)
        yield Case("fixed_order_sum", f"{splits} x {n}", "forward", steps, contenders)


OPERATIONS = [lora_linear, attention, layer_norm, gelu, dropout, fixed_order_sum]

# ---- running them


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
    c = Context(options)
    saved = run_file.load(options.results)
    facts = saved.get("facts", {})
    ceilings = predict.Ceilings(facts.get("copy_rate", predict.H200.copy), facts.get("matrix_rate", predict.H200.matrix))
    part = saved.get("speed", {"rows": []})
    part |= {"ceilings": vars(ceilings), "measured_ceilings": "copy_rate" in facts, "dry_run": options.cpu_dry_run}
    part["auto"] = getattr(c, "automatic", {})
    for index, operation in enumerate(wanted):
        part["rows"] = [row for row in part["rows"] if row["operation"] != operation.__name__]
        begin, cases = time.monotonic(), 0
        try:
            for case in operation(c):
                part["rows"] += measure(c, case, ceilings)
                run_file.put(options.results, "speed", part)
                cases += 1
                c.device.release()
        except Exception as error:
            part["rows"].append({"operation": operation.__name__, "case": "stopped", "error": str(error).split("\n")[0][:300]})
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
