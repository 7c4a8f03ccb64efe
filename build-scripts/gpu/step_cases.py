"""What else a step needs, most of it one pass: beside a copy of the same bytes, PyTorch's eager calls and torch.compile."""

import predict
from cases import BFLOAT16, Case, both, each_way, forward_alone

# ---- operations


def passes(n, forward, backward):
    """steps of each_way for an operation that reads and writes n numbers so many times."""
    return lambda back: predict.elements(n, *forward) + (predict.elements(n, *backward) if back else [])


def layer_norm(c):
    if not c.torch:
        return
    import operations
    import peers

    for T, C in c.some([(8192, 4096), (16384, 1024), (65536, 384)], (3, 16)):
        x, residual, weight, bias = c.normal(T, C).requires_grad_(), c.normal(T, C).requires_grad_(), c.normal(C), c.normal(C)
        arguments, inputs = (x, residual, weight, bias), [x, residual]
        compiled = c.compiled(peers.layer_norm)
        pairs = {
            "eager": (lambda a=arguments: peers.layer_norm(*a), inputs),
            "compile": (lambda a=arguments, f=compiled: f(*a), inputs),
            **c.providers("layer_norm", lambda a=arguments: operations.layer_norm(*a), inputs),
        }
        steps = passes(T * C, (2, 2), (2, 1))
        yield from each_way("layer_norm", f"{T} x {C}, residual", steps, pairs, extra=c.copying)


def gelu(c):
    if not c.torch:
        return
    import torch.nn.functional as F

    import operations

    T, C = c.size((8192, 14336), (3, 16))
    x = c.normal(T, C).requires_grad_()
    pairs = {"eager": (lambda: F.gelu(x), [x]), **c.providers("gelu", lambda: operations.gelu(x), [x])}
    yield from each_way("gelu", f"{T} x {C}", passes(T * C, (1, 1), (2, 1)), pairs, extra=c.copying)


def dropout(c):
    if not c.torch:
        return
    import torch.nn.functional as F

    import operations

    T, C = c.size((8192, 4096), (3, 16))
    x = c.normal(T, C).requires_grad_()
    pairs = {"eager": (lambda: F.dropout(x, 0.1), [x]), **c.providers("dropout", lambda: operations.dropout(x, 0.1), [x])}
    yield from each_way("dropout", f"{T} x {C}, p 0.1", passes(T * C, (1, 1), (1, 1)), pairs, extra=c.copying)


def prompt_generator(c):
    """IAPT before a layer of an 8B model; the eager peer pads, as its formula is written."""
    if not c.torch:
        return
    import torch

    import operations
    import peers

    S, n, d, m, P = c.size((16, 512, 4096, 256, 4), (2, 3, 16, 8, 2))
    h, T = c.normal(S * n, d).requires_grad_(), S * n
    down, pool, up = (c.normal(*shape, type="float32", deviation=0.02).requires_grad_() for shape in ((m, d), (P, m), (d, m)))
    a, b = (c.normal(1, count, type="float32", deviation=0.3).requires_grad_() for count in (6, 4))
    cu, instruction, inputs = torch.arange(0, T + 1, n), torch.ones(T, dtype=torch.bool), [h, down, pool, a, b, up]
    pairs = {
        "eager": (lambda: peers.prompt_generator(h.view(S, n, d), down, pool, a, b, up), inputs),
        **c.providers("prompt_generator", lambda: operations.prompt_generator(h, cu, instruction, down, pool, a, b, up), inputs),
    }
    yield from each_way("prompt_generator", f"{S} x {n} rows of {d}, m {m}, P {P}", lambda back: predict.prompt_generator(T, d, m, P, back), pairs)


def token_losses(c):
    """The head of an 8B model: loss and the gradient of the hidden rows."""
    if not c.torch:
        return
    import torch

    import operations
    import peers

    T, C, V = c.size((8192, 4096, 128256), (10, 16, 40))
    weight, hidden, labels = c.normal(V, C, deviation=C**-0.5), c.normal(T, C).requires_grad_(), torch.randint(V, (T,))
    there, ours, compiled = labels.to(hidden.device), operations.weight([weight]), c.compiled(peers.mean_loss)
    pairs = {
        "eager": (lambda: peers.mean_loss(hidden, weight, there), [hidden]),
        "compile": (lambda: compiled(hidden, weight, there), [hidden]),
        **c.providers("token_losses", lambda: operations.token_losses(hidden, ours, labels).sum() / T, [hidden]),
    }
    steps = lambda back: predict.token_losses(T, C, V)  # noqa: E731
    yield from each_way("token_losses", f"T {T}, C {C}, V {V}", steps, pairs, directions=["forward + backward"], memory=True)


# ---- kernels


def one_kernel(c, operation, name, direction, steps, run, check, peers=None, **more):
    contenders = c.copying(steps) | (peers or {}) | {"peft4j kernel": run}
    return Case(operation, name, direction, steps, contenders, {"kind": "kernel"}, check=check, **more)


def differentiated(formula, inputs, dy, found):
    """[(what a forward wrote, what is right)], then the same of its backward; formula gives the result."""
    import torch

    wide = [t.float().requires_grad_() for t in inputs]
    y = formula(*wide)
    return list(zip(found, [y.detach(), *torch.autograd.grad(y, wide, dy.float())]))


def norm(c):
    """RMSNorm and LayerNorm with the residual added; backward with the gradient that comes along the residual stream."""
    if c.has("norm_forward", "norm_backward"):
        for T, C in c.some([(8192, 4096), (65536, 384)], (3, 16)):
            yield from _norm(c, T, C, centred=False)
            yield from _norm(c, T, C, centred=True)


def _norm(c, T, C, centred):
    x, residual, dy, more = (c.normal(T, C) for _ in range(4))
    y, z, dz, weight, bias = c.empty(T, C), c.empty(T, C), c.empty(T, C), c.normal(C), c.normal(C)
    mean, rstd = (c.empty(T, type="float32") for _ in range(2))
    p = c.struct(
        "norm_params", dtype=BFLOAT16, centred=int(centred), rows=T, columns=C, weight=weight, bias=bias if centred else None,
        eps=1e-5, mean=mean, rstd=rstd, x=x, residual=residual, residual_stride=C, y=y, y_stride=C, z=z, dy=dy, dz_more=more, dz=dz,
    )  # fmt: skip
    eager = {}
    if c.torch:
        import peers

        def formula():
            return peers.layer_norm(x, residual, weight, bias) if centred else peers.rms_norm(x, residual, weight)

        eager = {"eager": forward_alone(formula), "compile": forward_alone(c.compiled(formula))}

    def check(found):
        import peers

        def right(z):
            wide = (z, z * 0, weight.float(), bias.float())
            return peers.layer_norm(*wide) if centred else peers.rms_norm(*wide[:3])[0]

        (_, y_right), (_, dz_right) = differentiated(right, [x.float() + residual.float()], dy, (y, dz))
        return [(y, y_right), (z, x.float() + residual.float())] if found is y else [(dz, dz_right + more)]

    name, case = "layer_norm kernel" if centred else "rms_norm", f"{T} x {C}, residual"
    steps = predict.elements(T * C, 2, 2)
    yield one_kernel(c, name, case, "forward", steps, c.kernel("norm_forward", p), lambda: check(y), eager)
    steps = predict.elements(T * C, 3, 1)
    yield one_kernel(c, name, case, "backward", steps, c.kernel("norm_backward", p), lambda: check(dz))


def rotary(c):
    if not c.has("rotary"):
        return
    T, Hq, Hkv, D = c.size((8192, 32, 8, 128), (3, 2, 1, 32))
    q, k, q_out, k_out = c.normal(T, Hq, D), c.normal(T, Hkv, D), c.empty(T, Hq, D), c.empty(T, Hkv, D)
    positions, frequencies = c.integers(range(T)), c.normal(D // 2, type="float32", deviation=0.01)

    def run(backward):
        p = c.struct(
            "rotary_params", dtype=BFLOAT16, backward=int(backward), wide_positions=1, rows=T, query_heads=Hq, key_heads=Hkv,
            head_size=D, rotary=D, q=q, k=k, q_out=q_out, k_out=k_out, q_stride=Hq * D, k_stride=Hkv * D, q_out_stride=Hq * D,
            k_out_stride=Hkv * D, positions=positions, inverse_frequencies=frequencies, scaling=1.0,
        )  # fmt: skip
        return c.kernel("rotary", p)

    eager = {}
    if c.torch:
        import peers

        angles = (positions.unsqueeze(1) * frequencies).repeat(1, 2)
        arguments = q, k, angles.cos().bfloat16(), angles.sin().bfloat16()
        compiled = c.compiled(peers.rotary)
        eager = {"eager": lambda: peers.rotary(*arguments), "compile": lambda: compiled(*arguments)}

    def check(back):
        import peers

        return zip((q_out, k_out), peers.rotary(q.float(), k.float(), angles.cos(), -angles.sin() if back else angles.sin()))

    name, steps = f"{T} x ({Hq} + {Hkv}) x {D}", predict.elements(T * (Hq + Hkv) * D, 1, 1)
    yield one_kernel(c, "rotary", name, "forward", steps, run(False), lambda: check(False), eager)
    yield one_kernel(c, "rotary", name, "backward", steps, run(True), lambda: check(True))


def gated_mlp(c):
    if not c.has("gated_mlp_forward", "gated_mlp_backward"):
        return
    T, C = c.size((8192, 14336), (3, 16))
    gate_up, dy = c.normal(T, 2 * C), c.normal(T, C)  # one product of a linear group
    y, dgate, dup = (c.empty(T, C) for _ in range(3))
    of = dict(
        dtype=BFLOAT16, rows=T, columns=C, gate=gate_up, up=c.pointer(gate_up) + 2 * C, gate_stride=2 * C, up_stride=2 * C,
        dy_stride=C, y_stride=C, dgate_stride=C, dup_stride=C,
    )  # fmt: skip
    forward = c.kernel("gated_mlp_forward", c.struct("gated_mlp_params", **of, y=y))
    backward = c.kernel("gated_mlp_backward", c.struct("gated_mlp_params", **of, dy=dy, dgate=dgate, dup=dup))
    eager = {}
    if c.torch:
        import peers

        gate, up = gate_up.split(C, 1)
        compiled = c.compiled(peers.gated_mlp)
        eager = {"eager": lambda: peers.gated_mlp(gate, up), "compile": lambda: compiled(gate, up)}

    def check():
        return differentiated(peers.gated_mlp, [gate, up], dy, (y, dgate, dup))

    name = f"silu, {T} x {C}"
    yield one_kernel(c, "gated_mlp", name, "forward", predict.elements(T * C, 2, 1), forward, lambda: check()[:1], eager)
    yield one_kernel(c, "gated_mlp", name, "backward", predict.elements(T * C, 3, 2), backward, lambda: check()[1:])


def elementwise(c):
    """gelu and dropout."""
    if not c.has("gelu_forward", "gelu_backward", "dropout"):
        return
    T, C = c.size((8192, 14336), (3, 16))
    n, x, dy, y, dx, masked = T * C, c.normal(T, C), c.normal(T, C), c.empty(T, C), c.empty(T, C), c.empty(T, C)

    def check():
        import formulas

        return differentiated(formulas.gelu, [x], dy, (y, dx))

    def check_mask():
        import formulas

        return [(masked, formulas.dropped(x.float(), 0.1, 1))]

    name, one, two = f"{T} x {C}", predict.elements(n, 1, 1), predict.elements(n, 2, 1)
    forward, backward = c.kernel("gelu_forward", BFLOAT16, n, x, y), c.kernel("gelu_backward", BFLOAT16, n, x, dy, dx)
    yield one_kernel(c, "gelu kernel", name, "forward", one, forward, lambda: check()[:1])
    yield one_kernel(c, "gelu kernel", name, "backward", two, backward, lambda: check()[1:])
    drop = c.kernel("dropout", BFLOAT16, T, C, x, masked, 1, 26)
    yield one_kernel(c, "dropout kernel", f"{name}, p 0.1", "either way", one, drop, check_mask)


def rational(c):
    """Version A of degrees 5 and 4, eight groups: forward and backward each alone."""
    if c.has("rational_forward", "rational_backward"):
        for T, C in c.some([(8192, 14336), (65536, 3072), (8192, 4096)], (5, 16)):
            yield from _rational(c, T, C, G=8)


def _rational(c, T, C, G):
    x, dy, y, dx = c.normal(T, C), c.normal(T, C), c.empty(T, C), c.empty(T, C)
    a, b = (c.normal(G, n, type="float32", deviation=0.3) for n in (6, 4))
    da, db = (c.empty(G, n, type="float32") for n in (6, 4))
    blocks = c.kernels.rational_blocks(T, C, G)
    partial_a, partial_b = (c.empty(blocks, G, n, type="float32") for n in (6, 4))
    p = c.struct(
        "rational_params", dtype=BFLOAT16, version=ord("A"), m=5, n=4, rows=T, channels=C, groups=G, x=x, y=y, dy=dy, dx=dx,
        numerator=a, denominator=b, numerator_stride=6, denominator_stride=4, numerator_partials=partial_a,
        denominator_partials=partial_b,
    )  # fmt: skip
    stages = [
        c.kernel("rational_backward", p),
        c.kernel("fixed_order_sum", da, partial_a, G * 6, blocks, 0),
        c.kernel("fixed_order_sum", db, partial_b, G * 4, blocks, 0),
    ]
    one, two = {}, {}
    if c.torch:
        import peers

        trained = [t.detach().requires_grad_() for t in (x, a, b)]
        one["eager"] = forward_alone(lambda: peers.rational(x, a, b))
        two["eager, fwd + bwd"] = both(lambda: peers.rational(*trained), trained)
        if peers.triton is not None:
            one["Triton"] = lambda: peers.triton_rational_forward(x, a, b)
            two["Triton, atomics"] = lambda: peers.triton_rational_backward(dy, x, a, b)

    def check():
        return differentiated(peers.rational, [x, a, b], dy, (y, dx, da, db))

    def backward():
        for stage in stages:
            stage()

    name, forward = f"{T} x {C}, {G} groups, A 5/4", c.kernel("rational_forward", p)
    yield one_kernel(c, "rational", name, "forward", predict.elements(T * C, 1, 1), forward, lambda: check()[:1], one)
    yield one_kernel(c, "rational", name, "backward", predict.elements(T * C, 2, 1), backward, lambda: check()[1:], two)


def fixed_order_sum(c):
    for n, splits in c.some([(16 * 14336, 132), (16 * 4096, 16)], (32, 3)):
        partials, out = c.normal(splits, n, type="float32"), c.empty(n, type="float32")
        steps = predict.elements(n, splits, 1, size=4)
        run = c.kernel("fixed_order_sum", out, partials, n, splits, 0)
        eager = {"eager": lambda partials=partials: partials.sum(0)} if c.torch else {}
        check = lambda out=out, partials=partials: [(out, partials.sum(0))]  # noqa: E731
        yield one_kernel(c, "fixed_order_sum", f"{splits} x {n}", "sum", steps, run, check, eager)


def cross_entropy(c):
    """Softmax, loss and gradient over the logits in place: a chunk of token_losses."""
    if not c.has("cross_entropy"):
        return
    T, V = c.size((1000, 128256), (3, 40))
    logits, before, loss = c.empty(T, V), c.normal(T, V), c.empty(T, type="float32")
    labels = c.integers([7 * i % V for i in range(T)])
    p = c.struct(
        "cross_entropy_params", dtype=BFLOAT16, logits=logits, labels=labels, loss=loss, rows=T, columns=V, row_stride=V, gradient=1
    )

    def check():
        import torch

        def losses(x):
            return torch.nn.functional.cross_entropy(x, labels, reduction="none")

        return differentiated(losses, [before], torch.ones(T), (loss, logits))

    steps, run = predict.elements(T * V, 1, 1), c.kernel("cross_entropy", p)
    restore = lambda i: c.device.copy(logits, before)  # noqa: E731
    yield one_kernel(c, "cross_entropy", f"{T} x {V}", "forward + backward", steps, run, check, each=restore)


# ---- optimiser


def adapter_shapes(c):
    """A and B on all linears of an 8B model, rank 16."""
    layers, r, smaller = c.size((32, 16, 1), (1, 2, 256))
    shapes = [s for _, N, K, _ in predict.LAYER_8B for s in ((r, K // smaller), (N // smaller, r))]
    return layers * shapes, layers * sum(rows * columns for rows, columns in shapes)


def adamw(c):
    if not c.has("adamw"):
        return
    shapes, n = adapter_shapes(c)
    parameters, gradients = ([c.normal(*s, type="float32", deviation=0.01) for s in shapes] for _ in range(2))
    first, second = ([c.zeros(*s, type="float32") for s in shapes] for _ in range(2))
    copies = [c.empty(*s) for s in shapes]
    tensors = [
        c.struct(
            "adamw_tensor", parameter=p, gradient=g, exp_avg=m, exp_avg_sq=v, copy=copy, n=rows * columns, columns=columns,
            copy_stride=columns, learning_rate=1e-4, weight_decay=0.01, copy_dtype=BFLOAT16,
        )
        for p, g, m, v, copy, (rows, columns) in zip(parameters, gradients, first, second, copies, shapes)
    ]  # fmt: skip
    together = (type(tensors[0]) * len(tensors))(*tensors)
    theirs = {}
    if c.torch:
        import torch

        trained = [torch.nn.Parameter(p.clone()) for p in parameters]
        for p, g in zip(trained, gradients):
            p.grad = g
        theirs = {
            "PyTorch fused": torch.optim.AdamW(trained, lr=1e-4, fused=True).step,
            "PyTorch foreach": torch.optim.AdamW(trained, lr=1e-4, foreach=True).step,
        }
    run = c.kernel("adamw", together, len(tensors), 0.9, 0.999, 1e-8, 1)
    name = f"{len(shapes)} tensors, {n / 1e6:.0f} M numbers, bfloat16 copies"
    check = lambda: [(copies[0], parameters[0]), (copies[-1], parameters[-1])]  # noqa: E731
    yield one_kernel(c, "adamw", name, "step", predict.adamw(n, True), run, check, theirs)


def clip_grad_norm(c):
    if not c.has("clip_grad_norm"):
        return
    shapes, n = adapter_shapes(c)
    gradients = [c.normal(*s, type="float32", deviation=0.01) for s in shapes]
    tensors = [c.struct("gradient", values=g, n=rows * columns) for g, (rows, columns) in zip(gradients, shapes)]
    together = (type(tensors[0]) * len(tensors))(*tensors)
    scratch = c.empty(c.kernels.clip_grad_norm_scratch(together, len(tensors)), type="float32")
    norm = c.zeros(2, type="float32")  # a double
    theirs = {}
    if c.torch:
        import torch

        trained = [torch.nn.Parameter(g.clone()) for g in gradients]
        for p, g in zip(trained, gradients):
            p.grad = g.clone()
        theirs = {"PyTorch": lambda: torch.nn.utils.clip_grad_norm_(trained, 1e-3)}
    most = 1e-3
    run = c.kernel("clip_grad_norm", norm, together, len(tensors), most, scratch)

    def check():
        return [(sum(g.square().sum() for g in gradients).sqrt() / most, torch.tensor(1.0))]

    steps = predict.elements(n, 2, 1, size=4)  # measured, then read and written; the first may stay in the cache
    yield one_kernel(c, "clip_grad_norm", f"{len(shapes)} tensors, {n / 1e6:.0f} M numbers", "step", steps, run, check, theirs)


OPERATIONS = [
    layer_norm, gelu, dropout, norm, rotary, gated_mlp, elementwise, rational, prompt_generator, fixed_order_sum, token_losses,
    cross_entropy, adamw, clip_grad_norm,
]  # fmt: skip
