"""Who is compared with: PyTorch's eager calls, torch.compile, Hugging Face PEFT, and a Triton kernel. Each is what its users run."""

import contextlib

import torch
import torch.nn.functional as F

try:
    import triton
    import triton.language as tl
except ImportError:
    triton = None

# ---- lora_linear; W [N, K] frozen, A [r, K] and B [N, r] trained


def lora_eager(x, w, a, b, scale, p):
    return F.linear(x, w) + F.linear(F.linear(F.dropout(x, p, p > 0), a), b) * scale


class LoraInPlace(torch.autograd.Function):
    """y += h·Bᵀ and dx += g·A into the frozen products: Unsloth's way."""

    @staticmethod
    def forward(ctx, x, w, a, b, scale):
        h = x @ a.t()
        ctx.save_for_backward(x, w, a, b, h)
        ctx.scale = scale
        return torch.addmm(x @ w.t(), h, b.t(), alpha=scale)

    @staticmethod
    def backward(ctx, dy):
        x, w, a, b, h = ctx.saved_tensors
        g = dy @ b
        dx = torch.addmm(dy @ w, g, a, alpha=ctx.scale)
        return dx, None, ctx.scale * (g.t() @ x), ctx.scale * (dy.t() @ h), None


def peft_linear(w, r, p):
    """PEFT's layer around a frozen nn.Linear, as get_peft_model makes it: adapters in float32."""
    import peft

    linear = torch.nn.Linear(w.shape[1], w.shape[0], bias=False, device="meta")
    linear.weight = torch.nn.Parameter(w, requires_grad=False)
    model = torch.nn.Sequential()
    model.add_module("linear", linear)
    config = peft.LoraConfig(r=r, lora_alpha=2 * r, lora_dropout=p, target_modules=["linear"], init_lora_weights=False)
    return peft.get_peft_model(model, config)


# ---- attention


@contextlib.contextmanager
def sdpa_backend(name):
    from torch.nn.attention import SDPBackend, sdpa_kernel

    names = {"flash": SDPBackend.FLASH_ATTENTION, "cudnn": SDPBackend.CUDNN_ATTENTION, "efficient": SDPBackend.EFFICIENT_ATTENTION,
             "math": SDPBackend.MATH}  # fmt: skip
    with sdpa_kernel(names[name]):
        yield


def sdpa(q, k, v, causal, backend=None, mask=None):
    """q [B, Hq, L, D]; k, v [B, Hkv, M, D]"""
    with sdpa_backend(backend) if backend else contextlib.nullcontext():
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=causal, enable_gqa=q.shape[1] != k.shape[1])


class FlashVarlen(torch.autograd.Function):
    """Flash-attention over packed rows: what torch.nn.attention.varlen calls, whose own arguments change with the versions."""

    @staticmethod
    def forward(ctx, q, k, v, cu, longest, causal):
        out, lse, random_state, unused, _ = torch.ops.aten._flash_attention_forward(q, k, v, cu, cu, longest, longest, 0.0, causal, False)
        ctx.save_for_backward(q, k, v, out, lse, cu, random_state, unused)
        ctx.longest, ctx.causal = longest, causal
        return out

    @staticmethod
    def backward(ctx, dout):
        q, k, v, out, lse, cu, random_state, unused = ctx.saved_tensors
        return *torch.ops.aten._flash_attention_backward(dout, q, k, v, out, lse, cu, cu, ctx.longest, ctx.longest, 0.0, ctx.causal,
                                                         random_state, unused), None, None, None  # fmt: skip


def padded_with_prefix(q, k, v, prefix_k, prefix_v, mask):
    """The prefix concatenated before padded keys, as PEFT's past_key_values makes it; [B, H, L, D], prefix [H, P, D]"""
    front = [t.unsqueeze(0).expand(k.shape[0], -1, -1, -1) for t in (prefix_k, prefix_v)]
    return sdpa(q, torch.cat([front[0], k], 2), torch.cat([front[1], v], 2), False, mask=mask)


# ---- rational, version A: P(x) / (1 + Σ |b_j| |x|^j), groups of columns


def rational(x, numerator, denominator):
    """x [T, C]; numerator [G, m + 1], denominator [G, n]; powers in float32"""
    G = numerator.shape[0]
    z = x.float().view(*x.shape[:-1], G, -1)
    a, b = numerator.unsqueeze(-1), denominator.abs().unsqueeze(-1)
    top = a[:, -1]
    for i in range(numerator.shape[1] - 2, -1, -1):
        top = top * z + a[:, i]
    bottom = b[:, -1]
    for j in range(denominator.shape[1] - 2, -1, -1):
        bottom = bottom * z.abs() + b[:, j]
    return (top / (1 + bottom * z.abs())).to(x.dtype).view(x.shape)


def prompt_generator(h, down, pool, numerator, denominator, up):
    """IAPT in autocast's types: h [S, n, d] -> [S, P, d], all rows of a sequence its instruction."""
    z = h @ down.to(h.dtype).t()
    weights = (z @ pool.to(h.dtype).t()).float().softmax(1)
    c = weights.transpose(1, 2).to(h.dtype) @ z
    return rational(c, numerator, denominator) @ up.to(h.dtype).t()


if triton is not None:

    @triton.jit
    def _coefficients(a, b, group):
        """Of degrees 5 and 4."""
        a, b = a + group * 6, b + group * 4
        return (tl.load(a), tl.load(a + 1), tl.load(a + 2), tl.load(a + 3), tl.load(a + 4), tl.load(a + 5),
                tl.load(b), tl.load(b + 1), tl.load(b + 2), tl.load(b + 3))  # fmt: skip

    @triton.jit
    def _rational_forward(y, x, a, b, rows, C, G: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        width = C // G
        group = tl.program_id(1)
        a0, a1, a2, a3, a4, a5, b1, b2, b3, b4 = _coefficients(a, b, group)
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        for first in range(0, width, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            at = row[:, None].to(tl.int64) * C + group * width + column[None, :]
            inside = (row[:, None] < rows) & (column[None, :] < width)
            z = tl.load(x + at, mask=inside, other=0).to(tl.float32)
            w = tl.abs(z)
            p = a0 + z * (a1 + z * (a2 + z * (a3 + z * (a4 + z * a5))))
            q = 1 + w * (tl.abs(b1) + w * (tl.abs(b2) + w * (tl.abs(b3) + w * tl.abs(b4))))
            tl.store(y + at, (p / q).to(y.dtype.element_ty), mask=inside)

    @triton.jit
    def _rational_backward(dx, da, db, dy, x, a, b, rows, C, G: tl.constexpr, ROWS: tl.constexpr, COLUMNS: tl.constexpr):
        """Sums of a block in registers, then one atomic for each of its coefficients (FlashKAT's scheme)."""
        width = C // G
        group = tl.program_id(1)
        a0, a1, a2, a3, a4, a5, b1, b2, b3, b4 = _coefficients(a, b, group)
        row = tl.program_id(0) * ROWS + tl.arange(0, ROWS)
        nothing = tl.zeros([ROWS, COLUMNS], dtype=tl.float32)
        s0, s1, s2, s3, s4, s5 = nothing, nothing, nothing, nothing, nothing, nothing
        t1, t2, t3, t4 = nothing, nothing, nothing, nothing
        for first in range(0, width, COLUMNS):
            column = first + tl.arange(0, COLUMNS)
            at = row[:, None].to(tl.int64) * C + group * width + column[None, :]
            inside = (row[:, None] < rows) & (column[None, :] < width)
            z = tl.load(x + at, mask=inside, other=0).to(tl.float32)
            u = tl.load(dy + at, mask=inside, other=0).to(tl.float32)
            w = tl.abs(z)
            p = a0 + z * (a1 + z * (a2 + z * (a3 + z * (a4 + z * a5))))
            slope = a1 + z * (2 * a2 + z * (3 * a3 + z * (4 * a4 + z * 5 * a5)))
            c1, c2, c3, c4 = tl.abs(b1), tl.abs(b2), tl.abs(b3), tl.abs(b4)
            r = 1 / (1 + w * (c1 + w * (c2 + w * (c3 + w * c4))))
            sign = tl.where(z < 0, -1.0, 1.0)
            bottom_slope = sign * (c1 + w * (2 * c2 + w * (3 * c3 + w * 4 * c4)))
            tl.store(dx + at, (u * r * (slope - p * r * bottom_slope)).to(dx.dtype.element_ty), mask=inside)
            e = u * r
            s0 += e
            s1 += e * z
            s2 += e * z * z
            s3 += e * z * z * z
            s4 += e * z * z * z * z
            s5 += e * z * z * z * z * z
            f = -e * p * r * w
            t1 += f
            t2 += f * w
            t3 += f * w * w
            t4 += f * w * w * w
        da, db = da + group * 6, db + group * 4
        tl.atomic_add(da, tl.sum(s0))
        tl.atomic_add(da + 1, tl.sum(s1))
        tl.atomic_add(da + 2, tl.sum(s2))
        tl.atomic_add(da + 3, tl.sum(s3))
        tl.atomic_add(da + 4, tl.sum(s4))
        tl.atomic_add(da + 5, tl.sum(s5))
        tl.atomic_add(db, tl.sum(t1) * tl.where(b1 < 0, -1.0, 1.0))
        tl.atomic_add(db + 1, tl.sum(t2) * tl.where(b2 < 0, -1.0, 1.0))
        tl.atomic_add(db + 2, tl.sum(t3) * tl.where(b3 < 0, -1.0, 1.0))
        tl.atomic_add(db + 3, tl.sum(t4) * tl.where(b4 < 0, -1.0, 1.0))


TILE = {"ROWS": 16, "COLUMNS": 128}


def triton_rational_forward(x, numerator, denominator):
    y, G = torch.empty_like(x), numerator.shape[0]
    rows, C = x.shape
    _rational_forward[(triton.cdiv(rows, TILE["ROWS"]), G)](y, x, numerator, denominator, rows, C, G, **TILE)
    return y


def triton_rational_backward(dy, x, numerator, denominator):
    dx, da, db = torch.empty_like(x), torch.zeros_like(numerator), torch.zeros_like(denominator)
    rows, C = x.shape
    G = numerator.shape[0]
    _rational_backward[(triton.cdiv(rows, TILE["ROWS"]), G)](dx, da, db, dy, x, numerator, denominator, rows, C, G, **TILE)
    return dx, da, db


# ---- norms, rotary, MLP, loss: as transformers writes Llama


def rms_norm(x, residual, weight, eps=1e-5):
    z = x + residual
    wide = z.float()
    return weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + eps)).to(x.dtype), z


def layer_norm(x, residual, weight, bias, eps=1e-5):
    return F.layer_norm(x + residual, x.shape[-1:], weight, bias, eps)


def rotary(q, k, cos, sin):
    """q, k [T, H, D]; cos, sin [T, D]: halves are turned."""

    def turned(x):
        half = x.shape[-1] // 2
        return x * cos.unsqueeze(1) + torch.cat([-x[..., half:], x[..., :half]], -1) * sin.unsqueeze(1)

    return turned(q), turned(k)


def gated_mlp(gate, up):
    return F.silu(gate) * up


def mean_loss(hidden, weight, labels):
    return F.cross_entropy(F.linear(hidden, weight).float(), labels)
