"""
libpeft4j's operations on a device, against the formulas of formulas.py in double, gradients included; every provider that an
operation has there, float32, bfloat16, float16 (and double by `reference`).

    ops.py --device cuda|cpu --torch-library FILE [--cuda-library FILE] [--results FILE] [--only OPERATION] [--quick]

With --device cpu and the host executor's library CPU tensors take the way of CUDA tensors (small shapes: --quick).
"""

import argparse
import itertools
import sys
import time

import torch

import formulas
import operations
import results as run_file
from compare import Check, Truth, random, results

# ---- what is checked: one function an operation


def lengths(*n):
    return [0, *itertools.accumulate(n)]


def lora_linear(quick):
    shapes = [(1, 1, 1, 1), (7, 33, 5, 3), (64, 128, 96, 8)] if quick else [
        (1, 1, 1, 1), (7, 33, 5, 3), (129, 257, 96, 8), (1000, 384, 1536, 16), (513, 4096, 1024, 64), (255, 520, 264, 256)]  # fmt: skip
    for (T, K, N, r), p in itertools.product(shapes, (0.0, 0.1)):
        yield _lora(f"T {T}, K {K}, N {N}, r {r}, dropout {p}", T, K, [N], [(0, 0, T, r)], p)
    T, K = (33, 24) if quick else (777, 512)
    third = T // 3
    yield _lora("group of three, bias, adapters on two", T, K, [K, K // 2, K // 2], [(0, 0, T, 8), (2, 0, T, 4)], 0.1, bias=True)
    yield _lora("rows of several adapters", T, K, [K], [(0, 0, third, 8), (0, third, 2 * third, 16), (0, 2 * third, T, 3)], 0.0)
    yield _lora("rows with two adapters and with none", T, K, [K, K], [(0, 0, 2 * third, 8), (0, third, 2 * third, 8), (1, 5, 5, 4)], 0.2)


def _lora(what, T, K, outs, adapters, p, bias=False):
    n = len(adapters)
    place = [number for adapter in adapters for number in adapter[:3]]
    parts = [random(N, K, seed=10 + i, deviation=K**-0.5) for i, N in enumerate(outs)]
    a = [random(r, K, seed=20 + j, deviation=K**-0.5) for j, (_, _, _, r) in enumerate(adapters)]
    b = [random(outs[part], r, seed=30 + j, deviation=r**-0.5) for j, (part, _, _, r) in enumerate(adapters)]
    scale = [2.0 - 0.5 * j for j in range(n)]
    first = 2 + len(parts)

    def split(inputs):
        return inputs[0], inputs[2:first], inputs[1], inputs[first : first + n], inputs[first + n :]

    def run(inputs):
        x, w, add, a, b = split(inputs)
        return operations.lora_linear(x, operations.weight(w), a, b, place, scale, [p] * n, 5, add)

    def formula(inputs):
        x, w, add, a, b = split(inputs)
        return formulas.lora_linear(x, w, add, a, b, place, scale, [p] * n, 5)

    inputs = [random(T, K, seed=1), random(sum(outs), seed=2) if bias else None, *parts, *a, *b]
    trained = [0, 1] + list(range(first, first + 2 * n))
    return Check("lora_linear", what, inputs, trained, run, formula, wide=tuple(range(first, first + 2 * n)))


def attention(quick):
    few, many = [3, 0, 1, 5], [3, 0, 1, 17] if quick else [129, 0, 1, 300, 64, 33]
    heads = [(2, 1, 32)] if quick else [(2, 1, 32), (4, 4, 64), (4, 2, 80), (3, 1, 96), (4, 1, 128), (2, 2, 256)]
    for (Hq, Hkv, D), causal in itertools.product(heads, (False, True)):
        yield _attention(f"{Hq}/{Hkv} heads of {D}, causal {causal}", many, many, Hq, Hkv, D, causal=causal)
    yield _attention("window 7", many, many, 2, 1, 64, causal=True, window=7)
    yield _attention("window 5 both ways", many, many, 2, 1, 64, window=5)
    yield _attention("other keys than queries", few, [4, 2, 1, 9], 2, 1, 32, causal=True)
    for P, each in itertools.product((1, 4, 5) if quick else (1, 4, 8, 64, 100), (False, True)):
        yield _attention(f"prefix of {P}, {'one each' if each else 'shared'}", many, many, 4, 2, 64, causal=True, prefix=P, each=each)
    yield _attention("gate", many, many, 4, 2, 64, causal=True, prefix=10, gate=True)
    yield _attention("dropout", few, few, 2, 1, 32, dropout_p=0.1)
    yield _attention("soft-cap", many, many, 2, 1, 64, causal=True, softcap=2.0)
    yield _attention("bias table", many, many, 2, 1, 64, buckets=32, bias_bidirectional=True, bias_max_distance=128)
    yield _attention("bias table, soft-cap, prefix", few, [4, 2, 1, 9], 2, 1, 32, causal=True, softcap=5.0, prefix=3,
                     buckets=6, bias_max_distance=5)  # fmt: skip


def _attention(what, rows, keys, Hq, Hkv, D, prefix=0, each=False, gate=False, buckets=0, **settings):
    cu_q, cu_k = lengths(*rows), lengths(*keys)
    host_q, host_k = torch.tensor(cu_q), torch.tensor(cu_k)
    shape = ([len(rows)] if each else []) + [prefix, Hkv, D]
    inputs = [random(sum(rows), Hq, D, seed=1), random(sum(keys), Hkv, D, seed=2), random(sum(keys), Hkv, D, seed=3)]
    inputs += [random(*shape, seed=4), random(*shape, seed=5)] if prefix else [None, None]
    inputs += [random(1, seed=6) if gate else None, random(buckets, Hq, seed=7) if buckets else None]
    settings = dict(causal=False, scale=D**-0.5, seed=5) | settings

    def run(t):
        return operations.attention(t[0], t[1], t[2], host_q, host_k, t[3], t[4], t[5], bias_table=t[6], **settings)

    def formula(t):
        return formulas.attention(t[0], t[1], t[2], cu_q, cu_k, t[3], t[4], t[5], bias_table=t[6], **settings)

    return Check("attention", what, inputs, list(range(7)), run, formula, wide=(6,), repeatable=("auto", "own", "library"))


def attention_decode(quick):
    for n, (Hq, Hkv, D), prefix, more in [
        (1, (4, 2, 64), 0, {}),
        (3, (4, 1, 128), 5, {"softcap": 20.0}),
        (2, (2, 2, 80), 64, {"window": 4}),
        (1, (8, 1, 256), 0, {"window": 3}),
    ]:
        keys = [5, 2, 30] if quick else [700, 2, 33, 129, 2048]
        cu_q, cu_k = lengths(*[n] * len(keys)), lengths(*keys)
        host = torch.tensor(cu_k)
        inputs = [random(n * len(keys), Hq, D, seed=1), random(sum(keys), Hkv, D, seed=2), random(sum(keys), Hkv, D, seed=3)]
        inputs += [random(prefix, Hkv, D, seed=4), random(prefix, Hkv, D, seed=5)] if prefix else [None, None]
        what = f"{n} rows, {Hq}/{Hkv} heads of {D}, prefix of {prefix}, {more}"
        yield Check("attention_decode", what, inputs, [],
                    lambda t, a=(host, max(keys)), more=more: operations.attention_decode(*t[:3], *a, None, *t[3:], **more),
                    lambda t, a=(cu_q, cu_k), D=D, more=more: formulas.attention(*t[:3], *a, *t[3:], causal=True, scale=D**-0.5, **more))  # fmt: skip


def layer_norm(quick):
    for T, C in [(1, 1), (3, 33)] if quick else [(1, 1), (3, 33), (129, 384), (1000, 768), (257, 4096)]:
        for residual, p in [(False, 0.0), (True, 0.0), (True, 0.1)]:
            inputs = [random(T, C, seed=1), random(T, C, seed=2) if residual else None, random(C, seed=3), random(C, seed=4)]
            yield Check("layer_norm", f"T {T}, C {C}, residual {residual}, dropout {p}", inputs, [0, 1, 2, 3],
                        lambda t, p=p: operations.layer_norm(*t, 1e-5, p, 5),
                        lambda t, p=p: formulas.layer_norm(*t, 1e-5, p, 5))  # fmt: skip


def rms_norm(quick):
    for T, C in [(1, 1), (3, 33)] if quick else [(1, 1), (3, 33), (129, 384), (1000, 768), (257, 4096)]:
        for residual, offset, p in [(False, 0.0, 0.0), (True, 1.0, 0.0), (True, 0.0, 0.1)]:
            inputs = [random(T, C, seed=1), random(T, C, seed=2) if residual else None, random(C, seed=3)]
            settings = (1e-6, offset, p, 5)
            yield Check("rms_norm", f"T {T}, C {C}, residual {residual}, offset {offset}, dropout {p}", inputs, [0, 1, 2],
                        lambda t, a=settings: operations.rms_norm(*t, *a),
                        lambda t, a=settings: formulas.rms_norm(*t, *a))  # fmt: skip


def rotary(quick):
    for T, Hq, Hk, D, half in [(1, 1, 1, 2, 1), (3, 4, 2, 32, 16)] if quick else [(1, 1, 1, 2, 1), (129, 4, 2, 64, 32), (1000, 32, 8, 128, 64), (33, 3, 3, 80, 20)]:  # fmt: skip
        for interleaved, scaling, type in [(False, 1.0, torch.int64), (True, 1.25, torch.int32)]:
            positions = torch.randint(4096, (T,), generator=torch.Generator().manual_seed(1)).to(type)
            frequencies = 10000.0 ** -(torch.arange(half, dtype=torch.float64) / half)
            yield Check("rotary", f"T {T}, {Hq}/{Hk} heads of {D}, {2 * half} turned, interleaved {interleaved}",
                        [random(T, Hq, D, seed=1), random(T, Hk, D, seed=2), frequencies], [0, 1],
                        lambda t, a=(positions, scaling, interleaved): operations.rotary(*t[:2], a[0].to(t[0].device), t[2], *a[1:]),
                        lambda t, a=(positions, scaling, interleaved): formulas.rotary(*t[:2], a[0].to(t[0].device), t[2], *a[1:]),
                        wide=(2,))  # fmt: skip


def gated_mlp(quick):
    for (T, N), activation in itertools.product([(1, 1), (7, 33)] if quick else [(1, 1), (7, 33), (1000, 1536)], formulas.ACTIVATIONS):
        yield Check("gated_mlp", f"T {T}, N {N}, {activation}", [random(T, N, seed=1, deviation=2), random(T, N, seed=2)], [0, 1],
                    lambda t, a=activation: operations.gated_mlp(*t, a), lambda t, a=activation: formulas.gated_mlp(*t, a))  # fmt: skip


def rational(quick):
    shapes = [(1, 1, 1), (7, 36, 3)] if quick else [(1, 1, 1), (7, 36, 3), (1000, 1536, 8), (129, 4096, 1)]
    for (T, C, G), (m, n), version in itertools.product(shapes, [(5, 4), (7, 6), (1, 1)], "ABCD"):
        inputs = [random(T, C, seed=1), random(G, m + 1, seed=2), random(G, n + (version == "C"), seed=3, deviation=0.5)]
        yield Check("rational", f"T {T}, C {C}, {G} groups, degrees ({m}, {n}), version {version}", inputs, [0, 1, 2],
                    lambda t, v=version: operations.rational(*t, v, 5), lambda t, v=version: formulas.rational(*t, v, 5),
                    wide=(1, 2))  # fmt: skip


def prompt_generator(quick):
    shapes = [([30, 0, 1, 25], 24, 8, 2), ([70], 40, 6, 1)] if quick else [([30, 0, 1, 25], 24, 8, 2), ([129, 1, 300, 64], 256, 34, 4), ([1000, 7], 512, 128, 10)]  # fmt: skip
    for (rows, d, m, P), (version, biased) in itertools.product(shapes, [("A", True), ("B", False), ("C", True), ("D", True)]):
        cu = lengths(*rows)
        instruction = torch.rand(cu[-1], generator=torch.Generator().manual_seed(1)) < 0.7
        inputs = [
            random(cu[-1], d, seed=2), random(m, d, seed=3, deviation=d**-0.5), random(P, m, seed=4),
            random(2, 6, seed=5, deviation=0.5), random(2, 4 + (version == "C"), seed=6, deviation=0.2), random(d, m, seed=7, deviation=m**-0.5),
            random(m, seed=8) if biased else None, random(d, seed=9) if biased else None,
        ]  # fmt: skip
        yield Check("prompt_generator", f"{rows} rows of {d}, m {m}, P {P}, version {version}, biased {biased}", inputs, list(range(8)),
                    lambda t, a=(torch.tensor(cu), instruction), v=version: operations.prompt_generator(t[0], *a, *t[1:], v, 5),
                    lambda t, a=(cu, instruction), v=version: formulas.prompt_generator(t[0], *a, *t[1:], v, 5),
                    wide=tuple(range(1, 8)))  # fmt: skip


def gelu(quick):
    for shape in [(1, 1), (7, 33)] if quick else [(1, 1), (7, 33), (1000, 1536)]:
        yield Check("gelu", f"{list(shape)}", [random(*shape, seed=1, deviation=2)], [0], lambda t: operations.gelu(*t), lambda t: formulas.gelu(*t))


def dropout(quick):
    for shape in [(1, 1), (7, 33)] if quick else [(1, 1), (7, 33), (1000, 1537)]:
        yield Check("dropout", f"{list(shape)}", [random(*shape, seed=1)], [0], lambda t: operations.dropout(*t, 0.1, 5),
                    lambda t: formulas.dropped(*t, 0.1, 5))  # fmt: skip


def token_losses(quick):
    shapes = [(1, 3, 5), (7, 16, 33)] if quick else [(1, 3, 5), (130, 64, 1001), (1000, 256, 32000)]
    for (T, d, V), (softcap, smoothing), kind in itertools.product(shapes, [(0.0, 0.0), (30.0, 0.1)], ["frozen", "low rank", "trained"]):
        yield _token_losses(f"T {T}, d {d}, V {V}, softcap {softcap}, smoothing {smoothing}, {kind}", T, d, V, kind, softcap, smoothing)


def _token_losses(what, T, d, V, kind, softcap, smoothing):
    labels = torch.randint(V, (T,), generator=torch.Generator().manual_seed(1))
    labels[1::3] = -100
    half, n = (T + 1) // 2, 2 if kind == "low rank" else 0
    place, scale, dropout = [0, 0, T, 0, 0, half][: 3 * n], [2.0, 0.5][:n], [0.1, 0.0][:n]
    inputs = [random(T, d, seed=1), random(V, d, seed=2, deviation=d**-0.5), None if kind == "frozen" else random(V, seed=3)]
    inputs += [random(2 + j, d, seed=4 + j, deviation=d**-0.5) for j in range(n)] + [random(V, 2 + j, seed=6 + j) for j in range(n)]
    settings = (place, scale, dropout, 5, softcap, smoothing)

    def run(t):
        weight = t[1] if kind == "trained" else operations.weight([t[1]])
        return operations.token_losses(t[0], weight, labels, t[2], t[3 : 3 + n], t[3 + n :], *settings)

    def formula(t):
        return formulas.token_losses(t[0], t[1], labels, t[2], t[3 : 3 + n], t[3 + n :], *settings)

    low_rank = list(range(3, 3 + 2 * n))
    trained = [0] + ([1] if kind == "trained" else []) + ([] if kind == "frozen" else [2]) + low_rank
    return Check("token_losses", what, inputs, trained, run, formula, wide=tuple(low_rank))


def adamw(quick):
    rates, decays, steps, settings = (0.1, 0.01, 0.0), (0.01, 0.0, 0.1), (3, 3, 7), (0.9, 0.99, 1e-8)
    for shapes in [[(3, 5), (1,), (7,)], [(16, 4096), (129, 33), (0, 3)]]:
        kinds = [[random(*s, seed=10 * kind + i, deviation=0.1) for i, s in enumerate(shapes)] for kind in range(4)]
        kinds[3] = [t.abs() for t in kinds[3]]  # squares

        def groups(inputs):
            return [inputs[3 * kind : 3 * kind + 3] for kind in range(4)]

        def run(inputs):
            p, g, m, v = groups([t.clone() for t in inputs])
            torch.ops.peft4j.adamw(p, g, m, v, rates, decays, steps, *settings)
            return p + m + v

        def formula(inputs):
            return formulas.adamw(*groups(inputs), rates, decays, steps, *settings)

        yield Check("adamw", f"{shapes}", [t for kind in kinds for t in kind], [], run, formula, types=(torch.float32,))


def clip_grad_norm(quick):
    for most in (0.0, 0.5, 1e6):
        inputs = [random(*shape, seed=i) for i, shape in enumerate([(3, 5), (1,), (129, 33), (0, 3)])]

        def run(t, most=most):
            t = [g.clone() for g in t]
            return [torch.tensor([torch.ops.peft4j.clip_grad_norm(t, most)]).to(t[0]), *t]

        def formula(t, most=most):
            norm = torch.sqrt(sum(g.square().sum() for g in t)).reshape(1)
            return [norm, *(g * (most / norm).clamp(max=1) if most else g for g in t)]

        yield Check("adamw", f"clip_grad_norm, at most {most}", inputs, [], run, formula, types=(torch.float32,))


OPERATIONS = [
    lora_linear, attention, attention_decode, layer_norm, rms_norm, rotary, gated_mlp, rational, prompt_generator, gelu, dropout,
    token_losses, adamw, clip_grad_norm,
]  # fmt: skip

# ---- running them

HOPPER = "own, sm_90a"  # own kernels' form for Hopper cards; other cards take the other form


def run(check, provider, type, device, truth):
    """What is wrong with one provider's results: a list of sentences."""
    settings = {"auto": "auto", HOPPER: operations.SM_90A.get(check.operation)}
    operations.set_kernels(settings.get(provider, f"{check.operation}={provider}"))
    try:
        own = results(check, check.run, type, device)
        found = truth.problems(own)
        if provider in (*check.repeatable, HOPPER):
            again = results(check, check.run, type, device)
            found += [f"result {i} is not the same bits in a second run" for i, (a, b) in enumerate(zip(own, again)) if not torch.equal(a, b)]
        return found
    except RuntimeError as error:
        return [str(error).split("\nException raised from")[0]]
    finally:
        operations.set_kernels("auto")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", choices=["cuda", "cpu"], required=True)
    parser.add_argument("--torch-library", required=True)
    parser.add_argument("--cuda-library")
    parser.add_argument("--results")
    parser.add_argument("--only")
    parser.add_argument("--quick", action="store_true")
    options = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    operations.load(options.torch_library, options.cuda_library)
    kind = "cuda" if options.cuda_library else options.device  # whose kernels run
    done, failures = {}, []
    for operation in OPERATIONS:
        if options.only not in (None, operation.__name__):
            continue
        begin, passed = time.monotonic(), 0
        for check in operation(options.quick):
            types = [t for t in check.types if t != torch.float16 or kind == "cuda"]
            truths = {type: Truth(check, type, options.device) for type in types}
            providers = [p for p in check.providers if p == "auto" or operations.has(check.operation, p, kind)]
            providers += [HOPPER] if kind == "cuda" and check.operation in operations.SM_90A else []
            for provider, type in itertools.product(providers, types):
                found = run(check, provider, type, options.device, truths[type])
                passed += not found
                name = f"{check.operation}, {provider}, {str(type).removeprefix('torch.')}: {check.what}"
                failures += [f"{name}: {problem}" for problem in found]
                for problem in found:
                    print(f"WRONG {name}: {problem}", flush=True)
        done[operation.__name__] = passed
        print(f"{operation.__name__}: {passed} right ({time.monotonic() - begin:.1f} s)", flush=True)
        if options.results:
            part = {"device": options.device, "right": done, "wrong": failures, "kernels": operations.kernels(kind)}
            run_file.put(options.results, "ops", part)
    if not done:
        sys.exit(f"ops.py: no operation {options.only}; there are {', '.join(o.__name__ for o in OPERATIONS)}")
    print(f"{sum(done.values())} passed, {len(failures)} failed")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
