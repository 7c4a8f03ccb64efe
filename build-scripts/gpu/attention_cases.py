"""attention beside PyTorch's: fixed shapes, ragged packings, prefixes; its kernels beside a copy."""

import itertools
import random as dice

import predict
from cases import BFLOAT16, Case, each_way, forward_alone

HEADS = (32, 8, 128)  # an 8B model's: query heads, key heads, head size
TINY = (2, 1, 32)


def named(heads):
    return f"{heads[0]}/{heads[1]} heads of {heads[2]}"


def packed(c, lengths, heads):
    """q, k, v of sequences that follow each other; where they begin, for us on the processor and for PyTorch on the card."""
    import torch

    Hq, Hkv, D = heads
    q, k, v = (c.normal(sum(lengths), h, D).requires_grad_() for h in (Hq, Hkv, Hkv))
    cu = torch.tensor([0, *itertools.accumulate(lengths)])
    return q, k, v, cu, cu.int().to(q.device)


def has_sm_90a(heads):
    return heads[2] in (64, 96, 128, 256)


def attention(c):
    if not c.torch:
        return
    causal, full = True, False
    fixed = [(4, 4096, causal, HEADS), (8, 2048, causal, HEADS), (2, 8192, causal, HEADS), (1, 16384, causal, HEADS)]
    fixed += [(4, 4096, full, HEADS), (8, 2048, causal, (32, 8, 64)), (64, 256, full, (12, 12, 32))]
    for shape in c.some(fixed, (2, 8, causal, TINY)):
        yield from fixed_lengths(c, *shape)
    yield from ragged(c)
    for P in (4, 64):
        yield from with_prefix(c, P)


def fixed_lengths(c, sequences, length, causal, heads):
    import operations
    import peers

    q, k, v, cu, device_cu = packed(c, [length] * sequences, heads)
    apart = [t.view(sequences, length, *t.shape[1:]).transpose(1, 2) for t in (q, k, v)]
    pairs = {}
    for backend in c.size(("flash", "cudnn"), ("math",)):
        pairs[f"SDPA {backend}"] = (lambda backend=backend: peers.sdpa(*apart, causal, backend), [q, k, v])
    if not c.dry:
        pairs["flash varlen"] = (lambda: peers.FlashVarlen.apply(q, k, v, device_cu, length, causal), [q, k, v])
    pairs |= c.providers("attention", lambda: operations.attention(q, k, v, cu, causal=causal), [q, k, v], has_sm_90a(heads))
    shape = {"kind": "fixed", "length": length, "causal": causal, "D": heads[2]}
    name = f"{sequences} x {length}, {named(heads)}, {'causal' if causal else 'full'}"
    steps = lambda back: predict.attention([length] * sequences, *heads, causal, backward=back)  # noqa: E731
    yield from each_way("attention", name, steps, pairs, shape)


def ragged_lengths(T, seed, longest):
    """Lengths of a packed batch: log-uniform between 16 and the longest, to a sum of T."""
    numbers, lengths = dice.Random(seed), []
    while (left := T - sum(lengths)) > 0:
        lengths.append(min(left, int(16 * (longest / 16) ** numbers.random())))
    return lengths


def ragged(c):
    """A new packing in each repeat."""
    import torch

    import operations
    import peers

    heads = c.size(HEADS, TINY)
    T, longest, packings = c.size((16384, 4096, 20 if c.quick else 200), (64, 32, 2))
    batches = [ragged_lengths(T, seed, longest) for seed in range(packings)]
    q, k, v, _, _ = packed(c, batches[0], heads)
    now = {}

    def ours():
        return operations.attention(q, k, v, now["cu"], causal=True)

    def each(i):
        now["cu"] = torch.tensor([0, *itertools.accumulate(batches[i])])
        now["device_cu"], now["longest"] = now["cu"].int().to(q.device), max(batches[i])
        ours()  # a model's first layer has brought the lengths to the card

    pairs = {"flash varlen": (lambda: peers.FlashVarlen.apply(q, k, v, now["device_cu"], now["longest"], True), [q, k, v])}
    pairs = c.size(pairs, {}) | c.providers("attention", ours, [q, k, v], has_sm_90a(heads))

    def steps(back):
        """Of the middle packing."""
        every = [predict.attention(b, *heads, True, backward=back) for b in batches]
        return sorted(every, key=lambda s: predict.total(s)[1])[len(every) // 2]

    name = f"{packings} different packings of {T}, {named(heads)}, causal"
    more = {"repeats": packings, "each": each, "mean": True}
    yield from each_way("attention", name, steps, pairs, {"kind": "ragged"}, ["forward + backward"], **more)


def with_prefix(c, P):
    """Packed rows and a shared prefix in place, against padded rows and concatenated keys."""
    import torch

    import operations
    import peers

    heads = c.size(HEADS, TINY)
    Hq, Hkv, D = heads
    lengths = c.size(ragged_lengths(16384, 1, 1024), [3, 7])
    S, longest = len(lengths), max(lengths)
    q, k, v, cu, _ = packed(c, lengths, heads)
    prefix_k, prefix_v = (c.normal(P, Hkv, D).requires_grad_() for _ in range(2))
    padded = [c.normal(S, h, longest, D).requires_grad_() for h in (Hq, Hkv, Hkv)]
    front = [c.normal(Hkv, P, D).requires_grad_() for _ in range(2)]
    position = torch.arange(longest, device=q.device)
    before = position.unsqueeze(0) <= position.unsqueeze(1)
    inside = position.unsqueeze(0) < torch.tensor(lengths, device=q.device).unsqueeze(1)
    mask = torch.cat([inside.new_ones(S, longest, P), before.unsqueeze(0) & inside.unsqueeze(1)], 2).unsqueeze(1)

    def ours():
        return operations.attention(q, k, v, cu, prefix_k=prefix_k, prefix_v=prefix_v, causal=True)

    pairs = {
        "padded, concatenated keys": (lambda: peers.padded_with_prefix(*padded, *front, mask), [*padded, *front]),
        **c.providers("attention", ours, [q, k, v, prefix_k, prefix_v], has_sm_90a(heads)),
    }
    name = f"prefix of {P}, {S} sequences to {longest} rows, {named(heads)}, causal"
    steps = lambda back: predict.attention(lengths, *heads, True, P, back)  # noqa: E731
    yield from each_way("attention", name, steps, pairs, {"kind": "prefix", "P": P}, ["forward + backward"])


# ---- kernels


def attention_kernels(c):
    """Our own attention, forward and backward each alone."""
    if not c.has("attention_forward", "attention_backward"):
        return
    shapes = [(4, 4096, True, HEADS), (4, 4096, False, HEADS), (32, 512, True, HEADS), (8, 2048, True, (32, 8, 64))]
    for sequences, length, causal, heads in c.some(shapes, (2, 8, True, TINY)):
        yield from _attention_kernels(c, sequences, length, causal, heads)


def _attention_kernels(c, sequences, length, causal, heads):
    Hq, Hkv, D = heads
    T, starts = sequences * length, [i * length for i in range(sequences + 1)]
    q, k, v, dout = (c.normal(T, h, D) for h in (Hq, Hkv, Hkv, Hq))
    out, dq, dk, dv = (c.empty(T, h, D) for h in (Hq, Hq, Hkv, Hkv))
    lse, cu = c.empty(T, Hq, type="float32"), c.integers(starts, type="int32")
    p = c.struct(
        "attention", dtype=BFLOAT16, causal=int(causal), sequences=sequences, query_rows=T, key_rows=T, query_heads=Hq,
        key_heads=Hkv, head_size=D, scale=D**-0.5, q=q, k=k, v=v, q_stride=Hq * D, k_stride=Hkv * D, v_stride=Hkv * D, cu_q=cu,
        cu_k=cu, out=out, lse=lse, dout=dout, dq=dq, dk=dk, dv=dv, dq_stride=Hq * D, dk_stride=Hkv * D, dv_stride=Hkv * D,
    )  # fmt: skip
    c.scratch(p, "attention_scratch")

    def check():
        import torch

        import formulas

        inputs = [t.float().requires_grad_() for t in (q, k, v)]
        right = formulas.attention(*inputs, starts, starts, causal=causal, scale=D**-0.5)
        return list(zip((out, dq, dk, dv), [right.detach(), *torch.autograd.grad(right, inputs, dout.float())]))

    name = f"{sequences} x {length}, {named(heads)}, {'causal' if causal else 'full'}"
    forward, backward = predict.attention([length] * sequences, *heads, causal, backward=True)
    for kernel, direction, step in [("attention_forward", "forward", forward), ("attention_backward", "backward", backward)]:
        found = slice(0, 1) if direction == "forward" else slice(1, 4)
        contenders = {"peft4j kernel": c.kernel(kernel, p)} | c.by_wgmma(kernel, p)
        yield Case(kernel, name, direction, [step], contenders, check=lambda found=found: check()[found])


def prefix_attention(c):
    """Part 2 and its join: what a prefix costs beside the library's attention."""
    if c.has("prefix_attention", "prefix_attention_backward"):
        for P in (4, 64):
            yield from _prefix_attention(c, P, c.size(16384, 10), c.size(HEADS, TINY))


def _prefix_attention(c, P, T, heads):
    Hq, Hkv, D = heads
    q, o1, dout, dq, o = (c.normal(T, Hq, D) for _ in range(5))
    k, v = (c.normal(P, Hkv, D) for _ in range(2))
    dk, dv = (c.empty(P, Hkv, D, type="float32") for _ in range(2))
    lse1, lse = (c.normal(T, Hq, type="float32") for _ in range(2))

    def rows(array, width=D):
        return c.struct("heads", data=array, row=Hq * width, head=width)

    p = c.struct(
        "prefix", dtype=BFLOAT16, scale=D**-0.5, rows=T, query_heads=Hq, key_heads=Hkv, head_size=D, prefix=P, sequences=1, longest=T,
        k=k, v=v, q=rows(q), o1=rows(o1), lse1=rows(lse1, 1), o=rows(o), lse=rows(lse, 1),
    )  # fmt: skip
    gradients = c.struct("prefix_gradients", dout=rows(dout), dq=rows(dq), prefix_dk=dk, prefix_dv=dv)
    c.scratch(gradients, "prefix_attention_scratch", p)

    def check(direction):
        import torch

        group = Hq // Hkv
        k_, v_ = (t.float().requires_grad_() for t in (k, v))
        scores = torch.einsum("nhd,phd->nhp", q.float(), k_.repeat_interleave(group, 1)) * D**-0.5
        joined = torch.logaddexp(lse1, scores.logsumexp(-1))
        weights = (scores - joined.unsqueeze(-1)).exp()
        right = (lse1 - joined).exp().unsqueeze(-1) * o1.float()
        right = right + torch.einsum("nhp,phd->nhd", weights, v_.repeat_interleave(group, 1))
        if direction == "forward":
            return [(o, right.detach()), (lse, joined.detach())]
        return list(zip((dk, dv), torch.autograd.grad(right, [k_, v_], dout.float())))

    for direction, run in [
        ("forward", c.kernel("prefix_attention", p)),
        ("backward", c.kernel("prefix_attention_backward", p, gradients)),
    ]:
        steps = predict.prefix_attention(T, Hq, D, P, direction == "backward")
        contenders = c.copying(steps) | {"peft4j kernel": run}
        name = f"prefix of {P}, T {T}, {named(heads)}"
        yield Case("prefix_attention", name, direction, steps, contenders, check=lambda way=direction: check(way))


def attention_decode(c):
    """One query row a sequence against its cache."""
    if c.has("attention_decode"):
        for S, length in c.some([(64, 4096), (1, 32768), (256, 1024)], (2, 9)):
            yield _attention_decode(c, S, length, c.size(HEADS, TINY))


def _attention_decode(c, S, length, heads):
    Hq, Hkv, D = heads
    starts = [i * length for i in range(S + 1)]
    q, o, k, v = c.normal(S, Hq, D), c.empty(S, Hq, D), c.normal(S * length, Hkv, D), c.normal(S * length, Hkv, D)

    def rows(array):
        return c.struct("heads", data=array, row=Hq * D, head=D)

    p = c.struct(
        "decode", dtype=BFLOAT16, scale=D**-0.5, sequences=S, queries=1, query_heads=Hq, key_heads=Hkv, head_size=D, longest=length,
        q=rows(q), o=rows(o), k=k, v=v, key=Hkv * D, head=D, cu_seqlens_k=c.integers(starts, type="int32"),
    )  # fmt: skip
    c.scratch(p, "attention_decode_scratch")
    steps = predict.attention_decode([length] * S, *heads)
    contenders = c.copying(steps) | {"peft4j kernel": c.kernel("attention_decode", p)}
    if c.torch:
        import torch

        import operations
        import peers

        host = torch.tensor(starts)
        ours = c.providers("attention_decode", lambda: operations.attention_decode(q, k, v, host, length))
        contenders |= {name: forward_alone(*pair) for name, pair in ours.items()}
        cache = [t.view(S, length, Hkv, D).transpose(1, 2) for t in (k, v)]
        contenders["SDPA"] = forward_alone(lambda: peers.sdpa(q.unsqueeze(2), *cache, False))

    def check():
        import formulas

        return [(o, formulas.attention(q.float(), k.float(), v.float(), range(S + 1), starts, scale=D**-0.5))]

    name = f"{S} x {length} keys, {named(heads)}"
    return Case("attention_decode", name, "forward", steps, contenders, check=check)


OPERATIONS = [attention, attention_kernels, prefix_attention, attention_decode]
