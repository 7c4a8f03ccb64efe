"""What else a step needs, one pass each: beside a copy of the same bytes, PyTorch's eager calls and torch.compile."""

import predict
from cases import Case, both, without_graph


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
        check = lambda out=out, partials=partials: [(out, partials.sum(0))]  # noqa: E731
        yield Case("fixed_order_sum", f"{splits} x {n}", "forward", steps, contenders, check=check)


# ---- loss and optimiser


def lm_loss(c):
    """The head of an 8B model: loss and the gradient of the hidden rows."""
    if not c.torch:
        return
    import torch

    import operations
    import peers

    T, C, V = c.size((8192, 4096, 128256), (10, 16, 40))
    weight, hidden = c.normal(V, C, deviation=C**-0.5), c.normal(T, C).requires_grad_()
    labels = torch.randint(V, (T,))
    there, ours = labels.to(hidden.device), operations.weight([weight])
    contenders = {
        "eager": both(lambda: peers.lm_loss(hidden, weight, there), [hidden]),
        "compile": both(lambda fast=c.compiled(peers.lm_loss): fast(hidden, weight, there), [hidden]),
        **c.providers("lm_loss", ("own", "library"), both(lambda: operations.lm_loss(hidden, ours, labels), [hidden])),
    }
    yield Case("lm_loss", f"T {T}, C {C}, V {V}", "forward + backward", predict.lm_loss(T, C, V), contenders, memory=True)


def cross_entropy(c):
    """Softmax, loss and gradient over the logits in place: a chunk of lm_loss."""
    if not c.has("cross_entropy"):
        return
    T, V = c.size((1000, 128256), (3, 40))
    logits, first, loss = c.normal(T, V), c.normal(T, V), c.device.empty(T, type="float32")
    labels = c.device.integers([7 * i % V for i in range(T)])
    p = c.struct("cross_entropy_params", logits=logits, labels=labels, loss=loss, rows=T, columns=V, row_stride=V, dtype=1, gradient=1)
    steps = predict.elements(T * V, 1, 1)
    contenders = {"copy": c.copying(predict.total(steps)[0]), "peft4j kernel": c.kernel("cross_entropy", p)}

    def check():
        import torch

        x = first.float().requires_grad_()
        losses = torch.nn.functional.cross_entropy(x, labels, reduction="none")
        return [(loss, losses.detach()), (logits, torch.autograd.grad(losses.sum(), x)[0])]

    yield Case("cross_entropy", f"{T} x {V}", "forward + backward", steps, contenders, each=lambda i: c.device.copy(logits, first), check=check)


def _adapters(c):
    """Shapes of A and B on all linears of an 8B model, rank 16."""
    layers, r = c.size((32, 16), (1, 2))
    scale = c.size(1, 256)
    return [shape for _ in range(layers) for _, N, K, _ in predict.LAYER_8B for shape in ((r, K // scale), (N // scale, r))]


def adamw(c):
    if not c.has("adamw"):
        return
    shapes = _adapters(c)
    state = [[c.normal(*s, type="float32", deviation=0.01) for s in shapes] for _ in range(2)]  # parameters, gradients
    moments = [[c.device.zeros(*s, type="float32") for s in shapes] for _ in range(2)]
    copies = [c.device.empty(*s) for s in shapes]
    arrays = list(zip(*state, *moments, copies, shapes))
    of = lambda p, g, m, v, copy, s: c.struct(  # noqa: E731
        "adamw_tensor", parameter=p, gradient=g, exp_avg=m, exp_avg_sq=v, copy=copy, n=s[0] * s[1], columns=s[1], copy_stride=s[1],
        learning_rate=1e-4, weight_decay=0.01, copy_dtype=1)  # fmt: skip
    tensors = [of(*a) for a in arrays]
    together = (type(tensors[0]) * len(tensors))(*tensors)
    n = sum(rows * columns for rows, columns in shapes)
    steps = predict.adamw(n, True)
    contenders = {"copy": c.copying(predict.total(steps)[0])}
    if c.torch:
        import torch

        parameters = [torch.nn.Parameter(p.clone()) for p in state[0]]
        for p, g in zip(parameters, state[1]):
            p.grad = g
        for name, more in [("PyTorch fused", {"fused": True}), ("PyTorch foreach", {"foreach": True})]:
            contenders[name] = torch.optim.AdamW(parameters, lr=1e-4, **more).step
    contenders["peft4j kernel"] = lambda: (tensors, c.kernels.adamw(together, len(tensors), 0.9, 0.999, 1e-8, 1, c.device.stream))
    yield Case("adamw", f"{len(shapes)} tensors, {n / 1e6:.0f} M numbers, bfloat16 copies", "step", steps, contenders)


def clip_grad_norm(c):
    if not c.has("clip_grad_norm"):
        return
    shapes = _adapters(c)
    gradients = [c.normal(*s, type="float32", deviation=0.01) for s in shapes]
    tensors = [c.struct("gradient", values=g, n=s[0] * s[1]) for g, s in zip(gradients, shapes)]
    together = (type(tensors[0]) * len(tensors))(*tensors)
    scratch = c.device.empty(c.kernels.clip_grad_norm_scratch(together, len(tensors)), type="float32")
    norm = c.device.empty(2, type="float32")
    n = sum(rows * columns for rows, columns in shapes)
    steps = predict.elements(n, 2, 1, size=4)  # measured, then read and written; the first may stay in the cache
    contenders = {"copy": c.copying(predict.total(steps)[0])}
    if c.torch:
        import torch

        parameters = [torch.nn.Parameter(torch.zeros_like(g)) for g in gradients]
        for p, g in zip(parameters, gradients):
            p.grad = g.clone()
        contenders["PyTorch"] = lambda: torch.nn.utils.clip_grad_norm_(parameters, 1.0)
    pointers = [c.device.pointer(a) for a in (norm, scratch)]
    contenders["peft4j kernel"] = lambda: (tensors, norm, scratch, c.kernels.clip_grad_norm(
        pointers[0], together, len(tensors), 1e30, pointers[1], c.device.stream))  # fmt: skip
    yield Case("clip_grad_norm", f"{len(shapes)} tensors, {n / 1e6:.0f} M numbers", "step", steps, contenders)


# ---- kernels of one pass


def norm(c):
    """RMSNorm and LayerNorm with the residual added; backward with the gradient that the residual stream brings."""
    if not c.has("norm_forward", "norm_backward"):
        return
    d = c.device
    for centred in (0, 1):
        for T, C in c.some([(8192, 4096), (65536, 384)], (3, 16)):
            x, residual, dy, more = (c.normal(T, C) for _ in range(4))
            y, z, dz = (d.empty(T, C) for _ in range(3))
            weight, bias = c.normal(C), c.normal(C)
            mean, rstd = (d.empty(T, type="float32") for _ in range(2))
            p = c.struct("norm_params", dtype=1, centred=centred, rows=T, columns=C, weight=weight, eps=1e-5, mean=mean, rstd=rstd, x=x,
                         residual=residual, y=y, z=z, dy=dy, dz_more=more, dz=dz)  # fmt: skip
            if centred:
                p.bias, p.arrays = d.pointer(bias), p.arrays + [bias]
            one = {"peft4j kernel": c.kernel("norm_forward", p)}
            if c.torch:
                import peers

                formula = (lambda: peers.layer_norm(x, residual, weight, bias, 1e-5)) if centred else (lambda: peers.rms_norm(x, residual, weight, 1e-5))
                fast = c.compiled(formula)
                one |= {"eager": without_graph(formula), "compile": without_graph(fast)}
            name = f"{T} x {C}, residual"
            yield from _passes(c, "layer_norm kernel" if centred else "rms_norm", name, T * C, (2, 2), (3, 1), one,
                               {"peft4j kernel": c.kernel("norm_backward", p)})  # fmt: skip


def rotary(c):
    if not c.has("rotary"):
        return
    T, Hq, Hkv, D = c.size((8192, 32, 8, 128), (3, 2, 1, 32))
    d = c.device
    q, k, q_out, k_out = c.normal(T, Hq, D), c.normal(T, Hkv, D), d.empty(T, Hq, D), d.empty(T, Hkv, D)
    positions = d.integers(list(range(T)))
    inverse = c.normal(D // 2, type="float32", deviation=0.01)
    of = lambda backward: c.struct(  # noqa: E731
        "rotary_params", dtype=1, backward=backward, wide_positions=1, rows=T, query_heads=Hq, key_heads=Hkv, head_size=D, rotary=D, q=q, k=k,
        q_out=q_out, k_out=k_out, q_stride=Hq * D, k_stride=Hkv * D, q_out_stride=Hq * D, k_out_stride=Hkv * D, positions=positions,
        inverse_frequencies=inverse, scaling=1.0)  # fmt: skip
    one = {"peft4j kernel": c.kernel("rotary", of(0))}
    if c.torch:
        import peers

        cos, sin = c.normal(T, D), c.normal(T, D)
        fast = c.compiled(peers.rotary)
        one |= {"eager": without_graph(lambda: peers.rotary(q, k, cos, sin)), "compile": without_graph(lambda: fast(q, k, cos, sin))}
    yield from _passes(c, "rotary", f"{T} x ({Hq} + {Hkv}) x {D}", T * (Hq + Hkv) * D, (1, 1), (1, 1), one, {"peft4j kernel": c.kernel("rotary", of(1))})


def gated_mlp(c):
    if not c.has("gated_mlp_forward", "gated_mlp_backward"):
        return
    T, C = c.size((8192, 14336), (3, 16))
    d = c.device
    both_inputs, dy = c.normal(T, 2 * C), c.normal(T, C)  # gate and up are one product of a linear group
    y, dgate, dup = (d.empty(T, C) for _ in range(3))
    p = c.struct("gated_mlp_params", dtype=1, rows=T, columns=C, gate=both_inputs, up=d.pointer(both_inputs) + 2 * C, dy=dy, y=y, dgate=dgate,
                 dup=dup, gate_stride=2 * C, up_stride=2 * C, dy_stride=C, y_stride=C, dgate_stride=C, dup_stride=C)  # fmt: skip
    one = {"peft4j kernel": c.kernel("gated_mlp_forward", p)}
    p_back = type(p)()
    for name, _ in p._fields_:
        setattr(p_back, name, getattr(p, name))
    p_back.y, p_back.arrays = None, p.arrays
    if c.torch:
        import peers

        gate, up = both_inputs.split(C, 1)
        fast = c.compiled(peers.gated_mlp)
        one |= {"eager": without_graph(lambda: peers.gated_mlp(gate, up)), "compile": without_graph(lambda: fast(gate, up))}
    yield from _passes(c, "gated_mlp", f"silu, {T} x {C}", T * C, (2, 1), (3, 2), one, {"peft4j kernel": c.kernel("gated_mlp_backward", p_back)})


def elementwise(c):
    """gelu and dropout."""
    if not c.has("gelu_forward", "gelu_backward", "dropout"):
        return
    T, C = c.size((8192, 14336), (3, 16))
    x, dy, y = c.normal(T, C), c.normal(T, C), c.device.empty(T, C)
    yield from _passes(c, "gelu kernel", f"{T} x {C}", T * C, (1, 1), (2, 1), {"peft4j kernel": c.kernel("gelu_forward", 1, T * C, x, y)},
                       {"peft4j kernel": c.kernel("gelu_backward", 1, T * C, x, dy, y)})  # fmt: skip
    yield from _passes(c, "dropout kernel", f"{T} x {C}, p 0.1", T * C, (1, 1), None, {"peft4j kernel": c.kernel("dropout", 1, T, C, x, y, 1, 26)}, None)  # its own backward


def _passes(c, operation, name, n, forward, backward, one, two):
    """Cases of a forward and a backward kernel that read and write so many times n numbers, beside a copy of as many bytes."""
    for direction, passes, contenders in [("forward", forward, one), ("backward", backward, two)]:
        if passes:
            steps = predict.elements(n, *passes)
            yield Case(operation, name, direction, steps, {"copy": c.copying(predict.total(steps)[0])} | contenders, {"kind": "kernel"})


# ---- rational


def rational(c):
    """Version A of degrees 5 and 4, eight groups: forward and backward each alone."""
    if not c.has("rational_forward", "rational_backward"):
        return
    for T, C in c.some([(8192, 14336), (65536, 3072), (8192, 4096)], (5, 16)):
        x, dy, y, dx = c.normal(T, C), c.normal(T, C), c.device.empty(T, C), c.device.empty(T, C)
        G = 8
        a, b = (c.normal(G, n, type="float32", deviation=0.3) for n in (6, 4))
        blocks = c.kernels.rational_blocks(T, C, G)
        da, db = (c.device.empty(blocks, G, n, type="float32") for n in (6, 4))
        sums = [(c.device.empty(G, n, type="float32"), partials, G * n) for n, partials in ((6, da), (4, db))]
        p = c.struct("rational_params", dtype=1, version=ord("A"), m=5, n=4, rows=T, channels=C, groups=G, x=x, numerator=a,
                     denominator=b, numerator_stride=6, denominator_stride=4, y=y, dy=dy, dx=dx, numerator_partials=da,
                     denominator_partials=db)  # fmt: skip
        parts = [c.kernel("rational_backward", p)] + [c.kernel("fixed_order_sum", out, partials, n, blocks, 0) for out, partials, n in sums]
        shape = {"C": C}
        forward, backward = predict.elements(T * C, 1, 1), predict.elements(T * C, 2, 1)
        one = {"copy": c.copying(predict.total(forward)[0]), "peft4j kernel": c.kernel("rational_forward", p)}
        two = {"copy": c.copying(predict.total(backward)[0]), "peft4j kernel": lambda parts=parts: [part() for part in parts]}
        if c.torch:
            import peers

            one["eager"] = without_graph(lambda: peers.rational(x, a, b))
            x_, a_, b_ = (t.detach().requires_grad_() for t in (x, a, b))
            two["eager, fwd + bwd"] = both(lambda: peers.rational(x_, a_, b_), [x_, a_, b_])
            if peers.triton is not None:
                one["Triton"] = lambda: peers.triton_rational_forward(x, a, b)
                two["Triton, atomics"] = lambda: peers.triton_rational_backward(dy, x, a, b)

        def check(x=x, a=a, b=b, dy=dy, found=(y, dx, sums[0][0], sums[1][0])):
            import torch

            import peers

            inputs = [t.float().requires_grad_() for t in (x, a, b)]
            out = peers.rational(*inputs)
            return list(zip(found, [out.detach(), *torch.autograd.grad(out, inputs, dy.float())]))

        yield Case("rational", f"{T} x {C}, {G} groups, A 5/4", "forward", forward, one, shape, check=lambda check=check: check()[:1])
        yield Case("rational", f"{T} x {C}, {G} groups, A 5/4", "backward", backward, two, shape, check=lambda check=check: check()[1:])


OPERATIONS = [layer_norm, gelu, dropout, norm, rotary, gated_mlp, elementwise, fixed_order_sum, rational, lm_loss, cross_entropy, adamw, clip_grad_norm]
