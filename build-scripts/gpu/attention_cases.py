"""attention beside PyTorch's: fixed shapes, ragged packings, prefixes; its kernels beside a copy."""

import itertools
import random as dice

import predict
from cases import Case, both, without_graph

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


# ---- kernels


def _truth(q, k, v, dout, cu, **more):
    """Result and gradients of attention by its formula, and those of a prefix."""
    import torch

    import formulas

    prefix = [t.float().requires_grad_() for t in more.pop("prefix", [])]
    inputs = [t.float().requires_grad_() for t in (q, k, v)]
    out = formulas.attention(*inputs, cu, cu, *(prefix or [None, None]), **more)
    return [out.detach(), *torch.autograd.grad(out, inputs + prefix, dout.float())]


def attention_kernels(c):
    """Our own attention, forward and backward each alone."""
    if not c.has("attention_forward", "attention_backward"):
        return
    d = c.device
    for sequences, length, causal, Hq, Hkv, D in c.some([(4, 4096, True, *HEADS), (4, 4096, False, *HEADS), (32, 512, True, *HEADS)], (2, 8, True, 2, 1, 32)):
        T = sequences * length
        q, k, v, dout = (c.normal(T, h, D) for h in (Hq, Hkv, Hkv, Hq))
        out, dq, dk, dv = (d.empty(T, h, D) for h in (Hq, Hq, Hkv, Hkv))
        lse, cu = d.empty(T, Hq, type="float32"), d.integers([i * length for i in range(sequences + 1)], type="int32")
        p = c.struct("attention", dtype=1, causal=int(causal), sequences=sequences, query_rows=T, key_rows=T, query_heads=Hq, key_heads=Hkv,
                     head_size=D, q=q, k=k, v=v, q_stride=Hq * D, k_stride=Hkv * D, v_stride=Hkv * D, cu_q=cu, cu_k=cu, scale=D**-0.5,
                     out=out, lse=lse, dout=dout, dq=dq, dk=dk, dv=dv, dq_stride=Hq * D, dk_stride=Hkv * D, dv_stride=Hkv * D)  # fmt: skip
        c.scratch(p, "attention_scratch")
        forward, both_ways = (predict.attention([length] * sequences, Hq, Hkv, D, causal, backward=b) for b in (False, True))
        name = f"{sequences} x {length}, {Hq}/{Hkv} heads of {D}, {'causal' if causal else 'full'}"

        def check(arrays=(q, k, v, dout), found=(out, dq, dk, dv)):
            return zip(found, _truth(*arrays, [i * length for i in range(sequences + 1)], causal=causal, scale=D**-0.5))

        yield Case("attention_forward", name, "forward", forward, {"peft4j kernel": c.kernel("attention_forward", p)},
                   check=lambda: list(check())[:1])  # fmt: skip
        yield Case("attention_backward", name, "backward", both_ways[1:], {"peft4j kernel": c.kernel("attention_backward", p)}, check=check)


def prefix_attention(c):
    """Part 2 and its join: what a prefix costs beside the library's attention."""
    if not c.has("prefix_attention", "prefix_attention_backward"):
        return
    d = c.device
    Hq, Hkv, D = c.size(HEADS, (2, 1, 32))
    T = c.size(16384, 10)
    heads = lambda array, width=D: c.struct("heads", data=array, row=Hq * width, head=width)  # noqa: E731
    for P in (4, 64):
        q, o1, dout, dq = (c.normal(T, Hq, D) for _ in range(4))
        k, v = c.normal(P, Hkv, D), c.normal(P, Hkv, D)
        lse1, lse, o = c.normal(T, Hq, type="float32"), d.empty(T, Hq, type="float32"), d.empty(T, Hq, D)
        dk, dv = (d.empty(P, Hkv, D, type="float32") for _ in range(2))
        p = c.struct("prefix", dtype=1, scale=D**-0.5, rows=T, query_heads=Hq, key_heads=Hkv, head_size=D, prefix=P, sequences=1, longest=T,
                     k=k, v=v, q=heads(q), o1=heads(o1), lse1=heads(lse1, 1), o=heads(o), lse=heads(lse, 1))  # fmt: skip
        g = c.struct("prefix_gradients", dout=heads(dout), dq=heads(dq), prefix_dk=dk, prefix_dv=dv)
        c.scratch(g, "prefix_attention_scratch", p)
        for name, direction, run in [("prefix_attention", "forward", c.kernel("prefix_attention", p)),
                                     ("prefix_attention", "backward", c.kernel("prefix_attention_backward", p, g))]:  # fmt: skip
            steps = predict.prefix_attention(T, Hq, D, P, direction == "backward")
            contenders = {"copy": c.copying(predict.total(steps)[0]), "peft4j kernel": run}

            def check(direction=direction, arrays=(q, k, v, o1, lse1, dout), found=(o, dk, dv)):
                right = _joined(*arrays)
                return list(zip(found, right))[:1] if direction == "forward" else list(zip(found, right))[1:]

            yield Case(name, f"prefix of {P}, T {T}, {Hq}/{Hkv} heads of {D}", direction, steps, contenders, check=check)


def _joined(q, k, v, o1, lse1, dout):
    """o of the join, and the gradients of the prefix."""
    import torch

    q, o1, dout = (t.float() for t in (q, o1, dout))
    k, v = (t.float().requires_grad_() for t in (k, v))
    group, D = q.shape[1] // k.shape[1], q.shape[2]
    scores = torch.einsum("nhd,phd->nhp", q, k.repeat_interleave(group, 1)) * D**-0.5
    lse = torch.logaddexp(lse1, scores.logsumexp(-1))
    out = (lse1 - lse).exp().unsqueeze(-1) * o1
    out = out + torch.einsum("nhp,phd->nhd", (scores - lse.unsqueeze(-1)).exp(), v.repeat_interleave(group, 1))
    return [out.detach(), *torch.autograd.grad(out, [k, v], dout)]


def attention_decode(c):
    """One query row a sequence against its cache."""
    if not c.has("attention_decode"):
        return
    d = c.device
    Hq, Hkv, D = c.size(HEADS, (2, 1, 32))
    for S, length in c.some([(64, 4096), (1, 32768), (256, 1024)], (2, 9)):
        q, o = c.normal(S, Hq, D), d.empty(S, Hq, D)
        k, v = c.normal(S * length, Hkv, D), c.normal(S * length, Hkv, D)
        cu = d.integers([i * length for i in range(S + 1)], type="int32")
        heads = lambda array: c.struct("heads", data=array, row=Hq * D, head=D)  # noqa: E731
        p = c.struct("decode", dtype=1, scale=D**-0.5, sequences=S, queries=1, query_heads=Hq, key_heads=Hkv, head_size=D, longest=length,
                     q=heads(q), o=heads(o), k=k, v=v, key=Hkv * D, head=D, cu_seqlens_k=cu)  # fmt: skip
        c.scratch(p, "attention_decode_scratch")
        steps = predict.attention_decode([length] * S, Hq, Hkv, D)

        def check(q=q, k=k, v=v, o=o):
            import formulas

            starts = [i * length for i in range(S + 1)]
            return [(o, formulas.attention(q.float(), k.float(), v.float(), range(S + 1), starts, scale=D**-0.5))]

        contenders = {"copy": c.copying(predict.total(steps)[0]), "peft4j kernel": c.kernel("attention_decode", p)}
        if c.torch:
            import peers

            cache = [t.view(S, length, Hkv, D).transpose(1, 2) for t in (k, v)]
            contenders["SDPA"] = without_graph(lambda: peers.sdpa(q.unsqueeze(2), *cache, False))
        yield Case("attention_decode", f"{S} x {length} keys, {Hq}/{Hkv} heads of {D}", "forward", steps, contenders, check=check)


OPERATIONS = [attention, attention_kernels, prefix_attention, attention_decode]
