"""lora_linear beside the frozen layer, PyTorch's eager calls and PEFT; its kernels beside a copy and the library's product."""

import itertools

import predict
from cases import BFLOAT16, Case, each_way

SCALE = 2.0
P = 0.1
THRESHOLD = 26  # round(256·P)
SHAPES_8B = [(4096, 4096), (1024, 4096), (14336, 4096), (4096, 14336)]


def lora_linear(c):
    if not c.torch:
        return
    both_ways = ("forward", "forward + backward")
    sizes = [(N, K, 4096, 16, p, both_ways) for p in (P, 0.0) for N, K in SHAPES_8B]
    sizes += [(N, K, T, 16, P, both_ways[1:]) for T in (8192, 16384) for N, K in SHAPES_8B]
    sizes += [(N, K, 4096, r, P, both_ways[1:]) for r in (8, 64) for N, K in SHAPES_8B]
    sizes += [(N, K, 8192, 16, P, both_ways[1:]) for N, K in [(2048, 2048), (512, 2048), (8192, 2048)]]  # a 1B model
    sizes += [(N, K, 8192, 8, P, both_ways[1:]) for N, K in [(384, 384), (1536, 384)]]  # MiniLM
    if c.quick:
        sizes = sizes[:4]  # a layer
    for N, K, T, r, p, directions in c.size(sizes, [(24, 16, 10, 4, P, both_ways)]):
        yield from one_layer(c, N, K, T, r, p, directions)
    groups = {group: [(N, K) for _, N, K, g in predict.LAYER_8B if g == group] for _, _, _, group in predict.LAYER_8B}
    groups = c.size(groups, {"qkv": [(16, 16), (8, 16), (8, 16)], "o": [(16, 16)]})
    for (group, members), p in itertools.product(groups.items(), (P, 0.0)):
        if len(members) > 1 and not c.quick:
            yield from one_group(c, group, members, c.size(4096, 10), c.size(16, 4), p)
    for group, members in groups.items():
        yield from many_tenants(c, group, members, c.size(8192, 64), 8, c.size(16, 4))


def factors(c, r, K, N):
    """A and B: float32 masters, and bfloat16 ones."""
    masters = [c.normal(*shape, type="float32", deviation=0.02).requires_grad_() for shape in ((r, K), (N, r))]
    return masters, [t.detach().bfloat16().requires_grad_() for t in masters]


def one_layer(c, N, K, T, r, p, directions):
    import torch.nn.functional as F

    import operations
    import peers

    w, x = c.normal(N, K, deviation=K**-0.5), c.normal(T, K).requires_grad_()
    (a32, b32), (a, b) = factors(c, r, K, N)
    ours, model = operations.weight([w]), peers.peft_linear(w, r, p).train()
    adapters = [q for q in model.parameters() if q.requires_grad]

    def lora():
        return operations.lora_linear(x, ours, [a32], [b32], [0, 0, T], [SCALE], [p])

    pairs = {
        "eager": (lambda: peers.lora_eager(x, w, a, b, SCALE, p), [x, a, b]),
        "frozen alone": (lambda: F.linear(x, w), [x]),
        "PEFT": (lambda: model(x), [x, *adapters]),
    }
    if p == 0:
        pairs["addmm_"] = (lambda: peers.LoraInPlace.apply(x, w, a, b, SCALE), [x, a, b])
    if c.dry or (T, r, p) == (4096, 16, P):
        compiled = c.compiled(peers.lora_eager)
        pairs["compile"] = (lambda: compiled(x, w, a, b, SCALE, p), [x, a, b])
    pairs |= c.providers("lora_linear", lora, [x, a32, b32], sm_90a=True)
    shape = {"N": N, "K": K, "T": T, "r": r, "dropout": p}
    name = f"{N} x {K}, T {T}, r {r}, dropout {p}"
    yield from each_way("lora_linear", name, lambda back: predict.lora_linear(T, K, N, r, back), pairs, shape, directions)


def one_group(c, group, members, T, r, p):
    """Layers that read the same x, as one product with one [x | h]."""
    import torch.nn.functional as F

    import operations
    import peers

    n, K = len(members), members[0][1]
    x, parts = c.normal(T, K).requires_grad_(), [c.normal(N, K, deviation=K**-0.5) for N, _ in members]
    masters, halves = zip(*[factors(c, r, K, N) for N, _ in members])
    a32, b32 = ([m[i] for m in masters] for i in (0, 1))
    a, b = ([m[i] for m in halves] for i in (0, 1))
    ours, place = operations.weight(parts), [number for i in range(n) for number in (i, 0, T)]

    def lora():
        return operations.lora_linear(x, ours, a32, b32, place, [SCALE] * n, [p] * n)

    pairs = {
        "eager": (lambda: [peers.lora_eager(x, *wab, SCALE, p) for wab in zip(parts, a, b)], [x, *a, *b]),
        "frozen alone": (lambda: [F.linear(x, w) for w in parts], [x]),
        **c.providers("lora_linear", lora, [x, *a32, *b32], sm_90a=True),
    }

    def steps(back):
        return [step for N, _ in members for step in predict.lora_linear(T, K, N, r, back)]

    shape = {"group": group, "T": T, "r": r, "dropout": p}
    name = f"group {group}, T {T}, r {r}, dropout {p}"
    yield from each_way("lora_linear", name, steps, pairs, shape, ["forward + backward"])


def many_tenants(c, group, members, T, tenants, r):
    """A batch of several tenants' rows, each with its own adapter on every member of the group; forward."""
    import torch
    import torch.nn.functional as F

    import operations

    K, total = members[0][1], sum(N for N, _ in members)
    x, parts = c.normal(T, K), [c.normal(N, K, deviation=K**-0.5) for N, _ in members]
    stacked, ours = torch.cat(parts), operations.weight(parts)
    a, b, place = [], [], []
    for j, i in itertools.product(range(tenants), range(len(members))):
        a.append(c.normal(r, K, type="float32", deviation=0.02))
        b.append(c.normal(members[i][0], r, type="float32", deviation=0.02))
        place += [i, j * T // tenants, (j + 1) * T // tenants]

    def lora():
        return operations.lora_linear(x, ours, a, b, place, [SCALE] * len(a))

    pairs = {"frozen alone": (lambda: F.linear(x, stacked), []), **c.providers("lora_linear", lora, sm_90a=True)}
    shape = {"tenants": tenants, "group": group, "T": T, "r": r}
    name = f"{tenants} adapters of rank {r} in one batch, {group}, T {T}"
    yield from each_way("lora_linear", name, lambda _: predict.product(T, K + tenants * r, total), pairs, shape, ["forward"])


# ---- kernels


def dual_gemm(c):
    """y = [x | h]·[W | B]ᵀ as two pairs, and dx = mask∘(g·A) + dy·W."""
    if not c.has("dual_gemm"):
        return
    for (N, K), T, r in c.some([(shape, 4096, 16) for shape in SHAPES_8B], ((24, 16), 10, 8)):
        yield from _dual_gemm(c, N, K, T, r)


def _dual_gemm(c, N, K, T, r):
    x, h, dy = c.normal(T, K), c.normal(T, r), c.normal(T, N)
    w, b, a = c.normal(N, K, deviation=K**-0.5), c.normal(N, r), c.normal(r, K)
    y, dx = c.empty(T, N), c.empty(T, K)

    def pair(x, w, k, x_stride, w_stride):
        return c.struct("gemm_pair", x=x, w=w, k=k, x_stride=x_stride, w_stride=w_stride)

    forward = c.struct(
        "gemm", pairs=[pair(x, w, K, K, K), pair(h, b, r, r, r)], count=2, dtype=BFLOAT16, y=y, t=T, n=N, y_stride=N
    )
    backward = c.struct(
        "gemm", pairs=[pair(h, a, r, r, K), pair(dy, w, N, N, K)], count=2, dtype=BFLOAT16, y=dx, t=T, n=K, y_stride=K,
        masked=1, seed=1, threshold=THRESHOLD, w_by_k=1,
    )  # fmt: skip

    def check(direction):
        import formulas

        wide = [t.float() for t in (x, h, dy, w, b, a)]
        x_, h_, dy_, w_, b_, a_ = wide
        if direction == "forward":
            return [(y, x_ @ w_.t() + h_ @ b_.t())]
        return [(dx, formulas.dropped(h_ @ a_, P, 1) + dy_ @ w_)]

    for direction, p, product, steps in [
        ("forward", forward, lambda: x @ w.t(), predict.product(T, K + r, N)),
        ("backward", backward, lambda: dy @ w, predict.product(T, N + r, K)),
    ]:
        contenders = {"frozen alone": product} if c.torch else {}
        contenders["peft4j kernel"] = c.kernel("dual_gemm", p)
        contenders |= c.by_wgmma("dual_gemm", p, tile=2)
        name = f"{N} x {K}, T {T}, r {r}"
        yield Case("dual_gemm", name, direction, steps, contenders, check=lambda direction=direction: check(direction))


def lora_kernels(c):
    """The passes around the products: dropout, copies into [x | h] and [dy | g]; one adapter, and 8 adapters' rows in a batch."""
    if not c.has("lora_shrink", "lora_grad_b", "lora_grad_a", "lora_expand"):
        return
    for C, T, r in c.some([(4096, 8192, 16), (14336, 8192, 16), (1024, 8192, 16), (4096, 8192, 64)], (16, 10, 4)):
        for adapters in (1, 8):
            yield from _lora_kernels(c, C, T, r, adapters)


def _lora_kernels(c, C, T, r, adapters):
    R = adapters * r
    row = C + R
    x, y, h, dx, dx_before = c.normal(T, C), c.empty(T, row), c.normal(T, R), c.empty(T, C), c.normal(T, C)
    a, b = c.normal(adapters, r, C, deviation=C**-0.5), c.normal(C, R, deviation=r**-0.5)  # all adapters' A, B
    gradient = c.empty(adapters, r, C, type="float32")
    rows = [slice(j * T // adapters, (j + 1) * T // adapters) for j in range(adapters)]
    columns = [slice(j * r, (j + 1) * r) for j in range(adapters)]

    def segments(factor, bytes_apart, rank_stride, column_stride, threshold):
        return [
            c.struct(
                "segment", begin=rows[j].start, end=rows[j].stop, rank=r, column=j * r, scale=SCALE, threshold=threshold,
                factor=c.pointer(factor) + j * bytes_apart, rank_stride=rank_stride, column_stride=column_stride,
                gradient=c.pointer(gradient) + 4 * j * r * C,
            )
            for j in range(adapters)
        ]  # fmt: skip

    def call(name, of_segments, **fields):
        p = c.struct(
            "lora", dtype=BFLOAT16, factor_dtype=BFLOAT16, y_dtype=BFLOAT16, columns=C, x=x, x_stride=C, h_columns=R, seed=1,
            segments=of_segments, n_segments=adapters, **fields,
        )  # fmt: skip
        if c.has(f"{name}_scratch"):
            c.scratch(p, f"{name}_scratch")
        return c.kernel(name, p)

    def check(name):
        import torch

        import formulas

        x_, h_, a_, b_ = (t.float() for t in (x, h, a, b))
        dropped, border, added = formulas.dropped(x_, P, 1), torch.zeros(T, R), torch.zeros(T, C)
        for j in range(adapters):
            down = dropped[rows[j]] @ a_[j].t() if name == "lora_shrink" else x_[rows[j]] @ b_[:, columns[j]]
            border[rows[j], columns[j]] = SCALE * down
            added[rows[j]] = h_[rows[j], columns[j]] @ a_[j]
        of_a = [(gradient[j], h_[rows[j], columns[j]].t() @ dropped[rows[j]]) for j in range(adapters)]
        of_b = [(gradient[j].view(C, r), x_[rows[j]].t() @ h_[rows[j], columns[j]]) for j in range(adapters)]
        with_border = [(y[:, :C], x_), (y[:, C:], border)]
        return {
            "lora_shrink": with_border,
            "lora_grad_b": with_border + of_b,
            "lora_grad_a": of_a,
            "lora_expand": [(dx, dx_before + formulas.dropped(added, P, 1))],
        }[name]

    of_a, of_b = segments(a, 2 * r * C, C, 1, THRESHOLD), segments(b, 2 * r, 1, R, 0)
    copy, behind = {"y": y, "y_stride": row}, c.pointer(y) + 2 * C  # h and g lie behind the copy
    kernels = {
        "lora_shrink": (call("lora_shrink", of_a, **copy, h=behind, h_stride=row), predict.lora_shrink(T, C, R, True)),
        "lora_grad_b": (
            call("lora_grad_b", of_b, **copy, g=behind, g_stride=row, h=h, h_stride=R),
            predict.lora_grad_b(T, C, R, True),
        ),
        "lora_grad_a": (call("lora_grad_a", of_a, g=h, g_stride=R), predict.lora_grad_a(T, C, R)),
        "lora_expand": (call("lora_expand", of_a, y=dx, y_stride=C, h=h, h_stride=R), predict.lora_expand(T, C, R)),
    }
    case = f"C {C}, T {T}, r {r}" + (f", rows of {adapters} adapters" if adapters > 1 else "")
    for name, (run, steps) in kernels.items():
        yield Case(
            name, case, "pass", steps, c.copying(steps) | {"peft4j kernel": run},
            each=lambda i: c.device.copy(dx, dx_before), check=lambda name=name: check(name),
        )  # fmt: skip


OPERATIONS = [lora_linear, dual_gemm, lora_kernels]
