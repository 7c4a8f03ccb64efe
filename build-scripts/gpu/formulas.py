"""
What the operations of native/peft4j.h compute, in plain PyTorch, differentiated by autograd: in double the truth of ops.py, in
the kernels' own types its `plain`, and in speed.py the eager peers.
"""

import math

import torch
import torch.nn.functional as F

# ---- the dropout mask: Philox4x32-10, native/philox.h


def _product(a, b):
    """High and low words of a·b, both below 2³², in int64."""
    low, high = (a & 0xFFFF) * b, (a >> 16) * b
    return (high + (low >> 16)) >> 16, (low + ((high & 0xFFFF) << 16)) & 0xFFFFFFFF


def threshold(p):
    return math.floor(256 * p + 0.5)


def _random_bytes(block, row, seed):
    """[..., 16] of 0 to 255: columns 16·block to 16·block + 15 of a mask's row, given as its low and its high 32 bits."""
    c = [t.expand(torch.broadcast_shapes(block.shape, row[0].shape)) for t in (block, *row, torch.zeros(1, dtype=torch.int64))]
    k = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        high_0, low_0 = _product(0xD2511F53, c[0])
        high_1, low_1 = _product(0xCD9E8D57, c[2])
        c = [high_1 ^ c[1] ^ k[0], low_1, high_0 ^ c[3] ^ k[1], low_0]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    return ((torch.stack(c, -1).unsqueeze(-1) >> torch.tensor([0, 8, 16, 24])) & 255).flatten(-2)


def mask(rows, columns, p, seed, first_row=0, row_step=1):
    """[rows, columns] of 0 and 256 / (256 - round(256·p)), in double; element (i, c) is row first_row + i·row_step of the mask."""
    drop = threshold(p)
    row = torch.arange(rows).unsqueeze(1) * row_step + first_row
    block = torch.arange((columns + 15) // 16).unsqueeze(0)
    dropped = _random_bytes(block, (row & 0xFFFFFFFF, row >> 32), seed).flatten(1)[:, :columns] < drop
    return (~dropped).double() * (256 / (256 - drop))


def dropped(x, p, seed, first_row=0):
    return x if threshold(p) == 0 else x * mask(*x.shape, p, seed, first_row).to(x)


# ---- lora_linear


def lora_linear(x, parts, bias, a, b, place, scale, dropout, seed):
    outputs = []
    for i, w in enumerate(parts):
        y = x @ w.t()
        if bias is not None:
            begin = sum(p.shape[0] for p in parts[:i])
            y = y + bias[begin : begin + w.shape[0]]
        for j in range(len(a)):
            part, begin, end = place[3 * j : 3 * j + 3]
            if part == i and end > begin:
                rows = dropped(x[begin:end], dropout[j], seed, begin)
                update = rows @ a[j].to(x).t() @ b[j].to(x).t() * scale[j]
                y = y + F.pad(update, (0, 0, begin, x.shape[0] - end))
        outputs.append(y)
    return outputs


# ---- attention


def hidden_keys(n, m, causal, window):
    """[n, m], true where a row does not see a key; aligned at the end."""
    distance = torch.arange(n).unsqueeze(1) + (m - n) - torch.arange(m).unsqueeze(0)
    hidden = torch.zeros(n, m, dtype=torch.bool)
    if causal:
        hidden |= distance < 0
    if window:
        hidden |= distance.abs() >= window
    return hidden


def relative_buckets(n, m, buckets, bidirectional, max_distance):
    """[n, m], T5's bucket of each key's position less the query's; the last query stands at the last key."""
    distance = torch.arange(m).unsqueeze(0) - torch.arange(n).unsqueeze(1) - (m - n)
    half = buckets // 2 if bidirectional else buckets
    first = half * (distance > 0) if bidirectional else 0
    distance = distance.abs() if bidirectional else (-distance).clamp(min=0)
    exact = half // 2  # distances below have a bucket each, the rest share the others by their logarithm
    far = torch.log(distance.clamp(min=1).float() / exact) / math.log(max_distance / exact) * (half - exact)
    return first + torch.where(distance < exact, distance, (exact + far.long()).clamp(max=half - 1))


def attention(q, k, v, cu_q, cu_k, prefix_k=None, prefix_v=None, gate=None, causal=False, scale=1.0, window=0, softcap=0.0,
              bias_table=None, dropout_p=0.0, seed=0, bias_bidirectional=False, bias_max_distance=0):  # fmt: skip
    heads, group = q.shape[1], q.shape[1] // k.shape[1]

    def bias(n, m):  # of the keys of a sequence; those of a prefix, which stand before them, have none
        bucket = relative_buckets(n, m, len(bias_table), bias_bidirectional, bias_max_distance)
        return bias_table[bucket.to(bias_table.device)].permute(2, 0, 1).to(q)

    def softmax_part(rows, keys, values, hidden, first_row, mask_seed, biased):
        if keys.shape[0] == 0 or rows.shape[0] == 0:
            return rows * 0
        scores = torch.einsum("nhd,mhd->hnm", rows, keys) * scale
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        if bias_table is not None and biased:
            scores = scores + F.pad(bias(len(rows), biased), (len(keys) - biased, 0))
        blind = hidden.all(1, keepdim=True).to(rows.device)
        p = scores.masked_fill(hidden.to(rows.device) & ~blind, -math.inf).softmax(-1).masked_fill(blind, 0)
        if threshold(dropout_p):
            n, m = p.shape[1:]
            p = p * torch.stack([mask(n, m, dropout_p, mask_seed, first_row * heads + h, heads) for h in range(heads)]).to(p)
        return torch.einsum("hnm,mhd->nhd", p, values)

    outputs = []
    for s in range(len(cu_q) - 1):
        rows = q[cu_q[s] : cu_q[s + 1]]
        keys, values = (t[cu_k[s] : cu_k[s + 1]].repeat_interleave(group, 1) for t in (k, v))
        hidden = hidden_keys(len(rows), len(keys), causal, window)
        if prefix_k is None:
            outputs.append(softmax_part(rows, keys, values, hidden, cu_q[s], seed, len(keys)))
            continue
        pk, pv = ((t if t.dim() == 3 else t[s]).repeat_interleave(group, 1) for t in (prefix_k, prefix_v))
        seen = torch.zeros(len(rows), len(pk), dtype=torch.bool)
        if gate is None:
            outputs.append(softmax_part(rows, torch.cat([pk, keys]), torch.cat([pv, values]), torch.cat([seen, hidden], 1), cu_q[s], seed, len(keys)))  # fmt: skip
        else:
            text = softmax_part(rows, keys, values, hidden, cu_q[s], seed, len(keys))
            outputs.append(text + gate.reshape([]).to(q) * softmax_part(rows, pk, pv, seen, cu_q[s], seed + 1, 0))
    return torch.cat(outputs) if outputs else q * 0


# ---- elementwise, norms


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


def layer_norm(x, residual, weight, bias, eps, dropout_p, seed):
    z = dropped(x, dropout_p, seed)
    if residual is not None:
        z = z + residual
    return F.layer_norm(z, z.shape[-1:], weight, bias, eps)


def rms_norm(x, residual, weight, eps, weight_offset, dropout_p, seed):
    z = dropped(x, dropout_p, seed)
    if residual is not None:
        z = z + residual
    return z * torch.rsqrt(z.square().mean(-1, keepdim=True) + eps) * (weight + weight_offset), z


def _at_least_float32(x):
    return x.to(torch.promote_types(x.dtype, torch.float32))


def rotary(q, k, positions, inverse_frequencies, scaling, interleaved):
    half = len(inverse_frequencies)
    angles = (positions.to(inverse_frequencies).unsqueeze(1) * inverse_frequencies).unsqueeze(1)  # [T, 1, R/2]
    cos, sin = angles.cos() * scaling, angles.sin() * scaling

    def turned(x):
        head, rest = _at_least_float32(x[..., : 2 * half]), x[..., 2 * half :]
        a, b = (head[..., 0::2], head[..., 1::2]) if interleaved else (head[..., :half], head[..., half:])
        a, b = a * cos - b * sin, b * cos + a * sin
        head = torch.stack([a, b], -1).flatten(-2) if interleaved else torch.cat([a, b], -1)
        return torch.cat([head.to(x), rest], -1)

    return turned(q), turned(k)


ACTIVATIONS = {"silu": F.silu, "gelu": F.gelu, "gelu_tanh": lambda x: F.gelu(x, approximate="tanh"), "relu": F.relu}


def gated_mlp(gate, up, activation):
    return ACTIVATIONS[activation](gate) * up


def rational(x, numerator, denominator, version, seed):
    """Version D is B with noise, a number for each element and coefficient: cuda/rational.cu."""
    groups, (z, channels) = len(numerator), (_at_least_float32(x), x.shape[-1])
    of_channel = torch.arange(channels, device=x.device) // (channels // groups)
    if version == "D":
        element = torch.arange(x.numel())
        row = (element >> 32, torch.full([1], 1 << 31))
        noise = 1 + (2 * _random_bytes(element & 0xFFFFFFFF, row, seed) - 255).double() * (3277 / 2**23)
        noise = noise.reshape(*x.shape, 16).to(z)

    def terms(coefficients, first_power, first_noise, base):
        given = coefficients[of_channel].to(z)
        if version == "D":
            given = given * noise[..., first_noise : first_noise + given.shape[-1]]
        return sum(given[..., i] * base ** (first_power + i) for i in range(given.shape[-1]))

    p = terms(numerator, 0, 0, z)
    if version == "A":
        q = 1 + terms(denominator.abs(), 1, 8, z.abs())
    else:
        q = (0.1 if version == "C" else 1) + terms(denominator, 0 if version == "C" else 1, 8, z).abs()
    return (p / q).to(x)


def prompt_generator(h, cu, instruction, down, pool, numerator, denominator, up, down_bias, up_bias, version, seed):
    pooled = []
    for begin, end in zip(cu, cu[1:]):
        rows = h[begin:end][instruction[begin:end].to(h.device)]
        z = _at_least_float32(rows @ down.to(h).t() + (0 if down_bias is None else down_bias.to(h)))
        pooled.append((z @ pool.to(z).t()).softmax(0).t() @ z)  # 0 where there is no row
    c = torch.stack(pooled)
    p = rational(c.reshape(-1, c.shape[-1]), numerator, denominator, version, seed) @ up.to(c).t()
    return (p if up_bias is None else p + up_bias.to(p)).reshape(*c.shape[:2], -1).to(h)


# ---- loss and optimiser


def token_losses(hidden, weight, labels, bias, a, b, place, scale, dropout, seed, softcap, smoothing):
    labels = labels.to(hidden.device)
    z = lora_linear(hidden, [weight], bias, a, b, place, scale, dropout, seed)[0]
    if softcap:
        z = softcap * torch.tanh(z / softcap)
    log_p = z.log_softmax(-1)
    chosen = log_p.gather(1, labels.clamp(min=0).unsqueeze(1)).squeeze(1)
    return -((1 - smoothing) * chosen + smoothing * log_p.mean(-1)) * (labels != -100)


def adamw(parameters, gradients, exp_avg, exp_avg_sq, rates, decays, steps, beta1, beta2, eps):
    """Parameters, then first and second moments after the step."""
    new = [], [], []
    for p, g, m, v, rate, decay, step in zip(parameters, gradients, exp_avg, exp_avg_sq, rates, decays, steps):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        change = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)
        for kind, t in zip(new, (p * (1 - rate * decay) - rate * change, m, v)):
            kind.append(t)
    return sum(new, [])
