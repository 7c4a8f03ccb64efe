"""
lora_linear beside the frozen layer, PyTorch's eager calls, PEFT; its kernels beside a copy and the library's product.
"""

import itertools

import predict
from cases import Case, both, without_graph

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


# ---- kernels


def dual_gemm(c):
    """y = [x | h]·[W | B]ᵀ as two pairs, and dx = mask∘(g·A) + dy·W; bfloat16."""
    if not c.has("dual_gemm"):
        return
    for N, K, T, r in c.some([(4096, 4096, 4096, 16), (1024, 4096, 4096, 16), (14336, 4096, 4096, 16), (4096, 14336, 4096, 16)], (24, 16, 10, 8)):
        x, w, h, b = c.normal(T, K), c.normal(N, K, deviation=K**-0.5), c.normal(T, r), c.normal(N, r)
        y, dx = c.device.empty(T, N), c.device.empty(T, K)
        dy, a = c.normal(T, N), c.normal(r, K)
        pair = lambda x, w, k, xs, ws: c.struct("gemm_pair", x=x, w=w, k=k, x_stride=xs, w_stride=ws)  # noqa: E731
        for direction, p in [
            ("forward", c.struct("gemm", pairs=[pair(x, w, K, K, K), pair(h, b, r, r, r)], count=2, dtype=1, y=y, t=T, n=N, y_stride=N)),
            ("backward", c.struct("gemm", pairs=[pair(h, a, r, r, K), pair(dy, w, N, N, K)], count=2, masked=1, seed=1, threshold=26,
                                  w_by_k=1, dtype=1, y=dx, t=T, n=K, y_stride=K)),
        ]:  # fmt: skip
            contenders = {"peft4j kernel": c.kernel("dual_gemm", p)}
            if c.torch:
                contenders["frozen alone"] = (lambda: x @ w.t()) if direction == "forward" else (lambda: dy @ w)
            steps = predict.product(T, K + r, N) if direction == "forward" else predict.product(T, N + r, K)

            def check(direction=direction, x=x, w=w, h=h, b=b, y=y, dx=dx, dy=dy, a=a):
                import formulas

                x, w, h, b, dy, a = (t.float() for t in (x, w, h, b, dy, a))
                return [(y, x @ w.t() + h @ b.t())] if direction == "forward" else [(dx, formulas.dropped(h @ a, 26 / 256, 1) + dy @ w)]

            yield Case("dual_gemm", f"{N} x {K}, T {T}, r {r}", direction, steps, contenders, {"N": N, "K": K}, check=check)


def lora_kernels(c):
    """The passes around the products: rank 16, dropout 0.1, copies into [x | h] and [dy | g]; and 8 adapters' rows in one batch."""
    if not c.has("lora_shrink", "lora_grad_b", "lora_grad_a", "lora_expand"):
        return
    for C, T, r in c.some([(4096, 8192, 16), (14336, 8192, 16), (1024, 8192, 16), (4096, 8192, 64)], (16, 10, 4)):
        for adapters in (1, 8):
            yield from _lora_kernels(c, C, T, r, adapters)


def _lora_kernels(c, C, T, r, adapters):
    d, R = c.device, adapters * r
    x, y, h, dx, dx_before = c.normal(T, C), d.empty(T, C + R), c.normal(T, R), d.empty(T, C), c.normal(T, C)
    factor, gradient = c.normal(adapters, r, C, deviation=C**-0.5), d.empty(adapters, r, C, type="float32")
    by_output = c.normal(C, R, deviation=r**-0.5)  # B of all adapters side by side

    def segments(base, bytes_apart, rank_stride, column_stride, threshold):
        return [c.struct("segment", begin=j * T // adapters, end=(j + 1) * T // adapters, rank=r, column=j * r,
                         factor=d.pointer(base) + j * bytes_apart, rank_stride=rank_stride, column_stride=column_stride,
                         gradient=d.pointer(gradient) + 4 * j * r * C, scale=2.0, threshold=threshold) for j in range(adapters)]  # fmt: skip

    def call(name, of_segments, **fields):
        p = c.struct("lora", dtype=1, factor_dtype=1, y_dtype=1, columns=C, x=x, x_stride=C, h_columns=R, seed=1, segments=of_segments,
                     n_segments=adapters, **fields)  # fmt: skip
        if c.has(f"{name}_scratch"):
            c.scratch(p, f"{name}_scratch")
        return c.kernel(name, p)

    def check(name):
        """What the kernel has written and what it should have: the copy and the border of y, the gradients, dx."""
        import torch

        import formulas

        of = [(slice(j * T // adapters, (j + 1) * T // adapters), slice(j * r, (j + 1) * r)) for j in range(adapters)]
        wide, a, b, ranks = x.float(), factor.float(), by_output.float(), h.float()
        dropped = formulas.dropped(wide, 26 / 256, 1)
        border, added = torch.zeros(T, R), torch.zeros(T, C)
        for j, (rows, columns) in enumerate(of):
            border[rows, columns] = 2 * (dropped[rows] @ a[j].t() if name == "lora_shrink" else wide[rows] @ b[:, columns])
            added[rows] = ranks[rows, columns] @ a[j]
        copied = [(y[:, :C], wide), (y[:, C:], border)]
        return {
            "lora_shrink": copied,
            "lora_grad_b": copied + [(gradient[j].view(C, r), wide[rows].t() @ ranks[rows, columns]) for j, (rows, columns) in enumerate(of)],
            "lora_grad_a": [(gradient[j], ranks[rows, columns].t() @ dropped[rows]) for j, (rows, columns) in enumerate(of)],
            "lora_expand": [(dx, dx_before + formulas.dropped(added, 26 / 256, 1))],
        }[name]

    down = segments(factor, 2 * r * C, C, 1, 26)  # A: element (j, c) at j·C + c
    border = d.pointer(y) + 2 * C  # h and g lie behind the copy
    row = C + R
    kernels = {
        "lora_shrink": (call("lora_shrink", down, y=y, y_stride=row, h=border, h_stride=row), predict.lora_shrink(T, C, R, True)),
        "lora_grad_b": (call("lora_grad_b", segments(by_output, 2 * r, 1, R, 0), y=y, y_stride=row, g=border, g_stride=row, h=h, h_stride=R),
                        predict.lora_grad_b(T, C, R, True)),
        "lora_grad_a": (call("lora_grad_a", down, g=h, g_stride=R), predict.lora_grad_a(T, C, R)),
        "lora_expand": (call("lora_expand", down, y=dx, y_stride=C, h=h, h_stride=R), predict.lora_expand(T, C, R)),
    }  # fmt: skip
    of = f"C {C}, T {T}, r {r}" + (f", rows of {adapters} adapters" if adapters > 1 else "")
    for name, (run, steps) in kernels.items():
        contenders = {"copy": c.copying(predict.total(steps)[0]), "peft4j kernel": run}
        yield Case(name, of, "pass", steps, contenders, each=lambda i: d.copy(dx, dx_before), check=lambda name=name: check(name))


OPERATIONS = [lora_linear, dual_gemm, lora_kernels]
