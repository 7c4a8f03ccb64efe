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
        yield Case("fixed_order_sum", f"{splits} x {n}", "forward", steps, contenders)


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
    yield Case("cross_entropy", f"{T} x {V}", "forward + backward", steps, contenders, each=lambda i: c.device.copy(logits, first))


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
        yield Case("rational", f"{T} x {C}, {G} groups, A 5/4", "forward", forward, one, shape)
        yield Case("rational", f"{T} x {C}, {G} groups, A 5/4", "backward", backward, two, shape)


OPERATIONS = [layer_norm, gelu, dropout, fixed_order_sum, rational, lm_loss, cross_entropy, adamw, clip_grad_norm]
