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


def mask(rows, columns, p, seed, first_row=0, row_step=1):
    """[rows, columns] of 0 and 256 / (256 - round(256·p)), in double; element (i, c) is row first_row + i·row_step of the mask."""
    drop = threshold(p)
    row = torch.arange(rows).unsqueeze(1) * row_step + first_row
    block = torch.arange((columns + 15) // 16).unsqueeze(0)
    c = [block.expand(rows, -1), (row & 0xFFFFFFFF).expand(-1, block.numel()), (row >> 32).expand(-1, block.numel()), torch.zeros(1, dtype=torch.int64)]  # fmt: skip
    k = [seed & 0xFFFFFFFF, seed >> 32 & 0xFFFFFFFF]
    for _ in range(10):
        high_0, low_0 = _product(0xD2511F53, c[0])
        high_1, low_1 = _product(0xCD9E8D57, c[2])
        c = [high_1 ^ c[1] ^ k[0], low_1, high_0 ^ c[3] ^ k[1], low_0]
        k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
    words = torch.stack(c, 2)  # [rows, blocks, 4]
    bytes_ = (words.unsqueeze(3) >> torch.tensor([0, 8, 16, 24])) & 255
    dropped = bytes_.reshape(rows, -1)[:, :columns] < drop
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


def attention(q, k, v, cu_q, cu_k, prefix_k=None, prefix_v=None, gate=None, causal=False, scale=1.0, window=0, softcap=0.0,
              bias_table=None, dropout_p=0.0, seed=0):  # fmt: skip
    heads, group = q.shape[1], q.shape[1] // k.shape[1]

    def softmax_part(rows, keys, values, hidden, first_row, mask_seed):
        if keys.shape[0] == 0 or rows.shape[0] == 0:
            return rows * 0
        scores = torch.einsum("nhd,mhd->hnm", rows, keys) * scale
        if softcap:
            scores = softcap * torch.tanh(scores / softcap)
        if bias_table is not None:
            scores = scores + bias_of(bias_table, rows.shape[0], keys.shape[0])
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
            outputs.append(softmax_part(rows, keys, values, hidden, cu_q[s], seed))
            continue
        pk, pv = ((t if t.dim() == 3 else t[s]).repeat_interleave(group, 1) for t in (prefix_k, prefix_v))
        seen = torch.zeros(len(rows), len(pk), dtype=torch.bool)
        if gate is None:
            outputs.append(softmax_part(rows, torch.cat([pk, keys]), torch.cat([pv, values]), torch.cat([seen, hidden], 1), cu_q[s], seed))  # fmt: skip
        else:
            text = softmax_part(rows, keys, values, hidden, cu_q[s], seed)
            outputs.append(text + gate.reshape([]).to(q) * softmax_part(rows, pk, pv, seen, cu_q[s], seed + 1))
    return torch.cat(outputs) if outputs else q * 0


# ---- elementwise, norms


def gelu(x):
    return 0.5 * x * (1 + torch.erf(x * math.sqrt(0.5)))


def layer_norm(x, residual, weight, bias, eps, dropout_p, seed):
    z = dropped(x, dropout_p, seed)
    if residual is not None:
        z = z + residual
    return F.layer_norm(z, z.shape[-1:], weight, bias, eps)


# ---- loss and optimiser


def token_log_probs(hidden, weight, labels, softcap=0.0, smoothing=0.0):
    """Of the labelled rows, in order."""
    labels = labels.to(hidden.device)
    z = hidden[labels != -100] @ weight.t()
    if softcap:
        z = softcap * torch.tanh(z / softcap)
    log_p = z.log_softmax(-1)
    chosen = log_p.gather(1, labels[labels != -100].unsqueeze(1)).squeeze(1)
    return (1 - smoothing) * chosen + smoothing * log_p.mean(-1)


def lm_loss(hidden, weight, labels, softcap=0.0, smoothing=0.0, mean=True):
    losses = -token_log_probs(hidden, weight, labels, softcap, smoothing)
    return losses.mean() if mean else losses.sum()


def adamw(parameters, gradients, exp_avg, exp_avg_sq, rates, decays, beta1, beta2, eps, step):
    """Parameters, then first and second moments after the step."""
    new = [], [], []
    for p, g, m, v, rate, decay in zip(parameters, gradients, exp_avg, exp_avg_sq, rates, decays):
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g * g
        change = (m / (1 - beta1**step)) / ((v / (1 - beta2**step)).sqrt() + eps)
        for kind, t in zip(new, (p * (1 - rate * decay) - rate * change, m, v)):
            kind.append(t)
    return sum(new, [])
