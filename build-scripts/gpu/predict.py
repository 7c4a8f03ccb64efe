"""
Arithmetic, no measurement: the bytes that must move and the operations that must be done, and the least time both ask for.

    predict.py [--copy 4.3] [--matrix 770]     the tables of cuda/README.md (TB/s read and written, TF/s; an H200's)

An operation is a list of steps that follow each other. A step takes the longer of its bytes over the copy rate and its
operations over the matrix rate; every tensor is read or written once, the cache is not counted on. Letters as in
native/peft4j.h: T tokens, K inputs, N outputs, r rank, H heads, D head size, P prefix length, C columns, V vocabulary.
"""

import argparse
from dataclasses import dataclass

HALF = 2  # bytes of a bfloat16


@dataclass(frozen=True)
class Ceilings:
    copy: float  # bytes a second, read and written
    matrix: float  # operations a second, two a multiply-add


@dataclass(frozen=True)
class Step:
    bytes: float
    operations: float = 0


H200 = Ceilings(4.3e12, 770e12)


def seconds(steps, ceilings):
    return sum(max(s.bytes / ceilings.copy, s.operations / ceilings.matrix) for s in steps)


def total(steps):
    return sum(s.bytes for s in steps), sum(s.operations for s in steps)


# ---- products


def product(T, K, N):
    """y = x·Wᵀ"""
    return [Step(HALF * (T * K + N * K + T * N), 2 * T * K * N)]


def frozen_linear(T, K, N, backward):
    return product(T, K, N) + (product(T, N, K) if backward else [])


def lora_linear(T, K, N, r, backward):
    """The bordered products, and one pass over x for h; backward one over dy for g and dB and one over x for dA."""
    forward = [Step(HALF * T * (K + r))] + product(T, K + r, N)
    return forward + ([Step(HALF * T * (N + K + 2 * r))] + product(T, N + r, K) if backward else [])


def lora_shrink(T, K, r, copies):
    return [Step(HALF * (T * K * (2 if copies else 1) + T * r + r * K), 2 * T * K * r)]


def lora_grad_b(T, N, r, copies):
    """g and dB in one pass over dy."""
    return [Step(HALF * (T * N * (2 if copies else 1) + 2 * T * r + N * r) + 4 * N * r, 4 * T * N * r)]


def lora_grad_a(T, K, r):
    return [Step(HALF * (T * K + T * r) + 4 * K * r, 2 * T * K * r)]


def lora_expand(T, K, r):
    """dx += mask∘(g·A)"""
    return [Step(HALF * (2 * T * K + T * r + r * K), 2 * T * K * r)]


def prompt_generator(T, d, m, P, backward=False):
    """IAPT's, of T instruction rows: down projection, scores and pooling. What is done for each soft token is small."""
    steps = [Step(HALF * (T * d + T * m + m * d), 2 * T * d * m), Step(HALF * 2 * T * m, 4 * T * P * m)]
    if backward:  # dz; dW_down and dh
        steps += [Step(HALF * 3 * T * m, 10 * T * P * m), Step(HALF * (2 * T * d + 2 * T * m + 2 * m * d), 4 * T * d * m)]
    return steps


# ---- attention


def seen_keys(lengths_q, lengths_k, causal, prefix=0, window=0):
    """Pairs of a query and a key that it sees, of one head."""
    pairs = 0
    for n, m in zip(lengths_q, lengths_k):
        if not causal and not window:
            pairs += n * m
            continue
        for i in range(n):
            last = min(m, m - n + i + 1) if causal else m
            first = max(0, m - n + i - window + 1) if window else 0
            if window and not causal:
                last = min(m, m - n + i + window)
            pairs += max(0, last - first)
    return pairs + prefix * sum(lengths_q)


def attention(lengths, Hq, Hkv, D, causal, prefix=0, backward=False, window=0):
    """Two products forward, five backward; each tensor once."""
    T = sum(lengths)
    operations = 4 * Hq * D * seen_keys(lengths, lengths, causal, prefix, window)
    rows = HALF * T * D * (2 * Hq + 2 * Hkv)
    steps = [Step(rows + 4 * T * Hq, operations)]
    if backward:
        steps.append(Step(HALF * T * D * (4 * Hq + 4 * Hkv) + 4 * T * Hq, 2.5 * operations))
    return steps


def prefix_attention(T, Hq, D, P, backward=False):
    """Part 2 and the join: reads q, o₁, L₁, writes o, L. Backward reads q, do, o, L, adds to dq."""
    operations = 4 * T * Hq * D * P
    if backward:
        return [Step(T * Hq * (5 * HALF * D + 4), 2.5 * operations)]
    return [Step(T * Hq * (3 * HALF * D + 8), operations)]


def attention_decode(lengths, Hq, Hkv, D, shared=0):
    """One query row a sequence: the caches once, and the shared prefix once for all."""
    S, keys = len(lengths), sum(lengths) + shared
    return [Step(HALF * D * (2 * Hkv * keys + 2 * Hq * S), 4 * Hq * D * (sum(lengths) + S * shared))]


# ---- one pass each


def elements(n, reads, writes, size=HALF):
    return [Step(n * (reads + writes) * size)]


def copy(n_bytes):
    return [Step(2 * n_bytes)]


# ---- loss and optimiser


def token_losses(T, C, V):
    """Logits and dh, W twice; the chunks of logits are written, made gradients in place, and read."""
    return [Step(HALF * (T * C + V * C + T * V), 2 * T * C * V), Step(HALF * 2 * T * V),
            Step(HALF * (T * V + V * C + T * C), 2 * T * C * V)]


def adamw(n, border):
    """Masters, gradients and moments in float32; the border's bfloat16 copy."""
    return [Step(n * (4 * 4 + 3 * 4 + (HALF if border else 0)))]


# ---- tables


# A layer of an 8B model (Llama 3): name, outputs, inputs, the group that reads the same x.
LAYER_8B = [("q", 4096, 4096, "qkv"), ("k", 1024, 4096, "qkv"), ("v", 1024, 4096, "qkv"), ("o", 4096, 4096, "o"),
            ("gate", 14336, 4096, "gate, up"), ("up", 14336, 4096, "gate, up"), ("down", 4096, 14336, "down")]  # fmt: skip

# Bytes a token that each way moves beside the frozen products, forward + backward: of each of the K inputs and N outputs.
# A pass over bfloat16 is 2, over float32 4, over a dropout mask of bytes 1.
WAYS = {
    # x read by A; B's output written, scaled (r, w), added (r, r, w). dy scaled (r, w), read by dB and g; x by dA; g·A
    # written and added to dx (r, r, w)
    "eager bf16": (2 + 2 + 2 + 6, 2 + 4 + 6 + 4 + 4),
    # + dropout of x (r, w, mask w) and of its gradient (r, mask r, w)
    "eager + dropout": (2 + 2 + 2 + 6 + 5 + 5, 2 + 4 + 6 + 4 + 4),
    # x widened, everything of the adapter in float32, y widened, and narrowed again; the same backward
    "Hugging Face PEFT (fp32 adapters)": (6 + 4 + 4 + 4 + 6 + 6, 4 + 8 + 10 + 6 + 6 + 6 + 8 + 4 + 4),
    "same + dropout": (6 + 4 + 4 + 4 + 6 + 6 + 9 + 9, 4 + 8 + 10 + 6 + 6 + 6 + 8 + 4 + 4),
    # x read by A, y added to in place (r, w); dy read by g and by dB, x by dA, dx added to in place
    "addmm_ in place (Unsloth)": (2 + 2 + 4, 4 + 2 + 2),
    # x read for h, the dropped x written and read for dA; dy read once; sums inside the products
    "fused around the products (LoRAFusion)": (2 + 2 + 2, 2),
    # x read for h and for dA, dy once for g and dB
    "all fused": (2 + 2, 2),
    # [x | h] written with h (r, w), x read by dA; [dy | g] written with g and dB (r, w)
    "bordered": (4 + 2, 4),
    # dx added to in place by the masked g·A (r, w); dy is only read
    "bordered + dropout": (4 + 2 + 4, 2),
}
GROUPED = {"bordered, groups share [x | h]": "bordered", "bordered + dropout, groups share [x | h]": "bordered + dropout"}
# What norms and the gated MLP make has room for h behind each row, and what is brought together for the gradients of a group room for g:
# nothing is copied there. Attention's output (o's x), and the gradients of o's and down's outputs, are copied.
COPIED_X, COPIED_DY = {"o"}, {"o", "down"}


def linear_ratios(ceilings, r=16):
    """{way: time over the frozen linears alone, forward + dx, weighted by time over a layer}."""
    frozen = sum(4 * N * K for _, N, K, _ in LAYER_8B) / ceilings.matrix
    ratios = {}
    for way, (of_k, of_n) in WAYS.items():
        ratios[way] = (of_k, of_n, sum(of_k * K + of_n * N for _, N, K, _ in LAYER_8B))
    for name, way in GROUPED.items():
        of_k, of_n = WAYS[way]
        inputs = {group: K for _, _, K, group in LAYER_8B}
        ratios[name] = (of_k, of_n, of_k * sum(inputs.values()) + of_n * sum(N for _, N, _, _ in LAYER_8B))
    of_k, of_n, extra = ratios["bordered, groups share [x | h]"]
    in_place = 2 * sum(K for group, K in inputs.items() if group not in COPIED_X) + 2 * sum(
        N for _, N, _, group in LAYER_8B if group not in COPIED_DY)  # fmt: skip
    ratios["bordered, groups, rows with room"] = (of_k - 2, of_n - 2, extra - in_place)
    longer = sum(2 * r * (N + K) for _, N, K, _ in LAYER_8B) / ceilings.matrix
    return {
        way: (of_k, of_n, 1 + (extra / ceilings.copy + (longer if way.startswith("bordered") else 0)) / frozen)
        for way, (of_k, of_n, extra) in ratios.items()
    }


def many_adapters(ceilings, adapters=8, r=16):
    """Forward of a layer with a batch of several tenants, as a share of the base's speed: each linear alone, and groups."""
    frozen = sum(2 * N * K for _, N, K, _ in LAYER_8B) / ceilings.matrix
    longer = sum(2 * N * adapters * r for _, N, _, _ in LAYER_8B) / ceilings.matrix
    alone = sum(4 * K for _, _, K, _ in LAYER_8B) / ceilings.copy
    shared = sum(4 * K for K in {group: K for _, _, K, group in LAYER_8B}.values()) / ceilings.copy
    return frozen / (frozen + longer + alone), frozen / (frozen + longer + shared)


def kept_bytes(C=4096, Hq=32, Hkv=8, D=128, inner=14336, r=16):
    """Bytes kept for backward, a token and a layer of an 8B model: [(what, plain autograd in bf16, what is needed)]."""
    q, kv = Hq * D, 2 * Hkv * D
    return [
        ("input of each norm", 2 * HALF * C, 2 * HALF * C),
        ("rstd of each norm", 2 * 4, 2 * 4),
        ("output of each norm (x of q, k, v and of gate, up)", 2 * HALF * C, 0),
        ("q, k, v", HALF * (q + kv), HALF * (q + kv)),
        ("o of attention (x of o_proj)", HALF * q, HALF * q),
        ("log-sum-exp", 4 * Hq, 4 * Hq),
        ("gate, up", 2 * HALF * inner, 2 * HALF * inner),
        ("silu(gate)", HALF * inner, 0),
        ("silu(gate)·up (x of down)", HALF * inner, 0),
        ("h of the adapters", HALF * 7 * r, HALF * 7 * r),
    ]


def step_8b(ceilings, linears, layers=32, T=4096, V=128256, C=4096):
    """Microseconds a token of a training step: linears, head and loss, attention, elementwise."""
    frozen = sum(4 * N * K for _, N, K, _ in LAYER_8B) / ceilings.matrix
    attention_rate = 0.65 * ceilings.matrix  # forward and backward, causal 4k: kernels.md section 2
    elementwise = HALF * (10 * C * 2 + 4 * (4096 + 1024) + 9 * 14336)  # norms and residuals, rotary, MLP, both ways
    parts = {
        "linears": layers * frozen * linears,
        "head and loss": seconds(token_losses(T, C, V), ceilings) / T,
        "attention": layers * 3.5 * 4 * (T / 2) * C / attention_rate,
        "elementwise": layers * elementwise / ceilings.copy,
    }
    return {name: 1e6 * t for name, t in parts.items()}


def print_tables(ceilings):
    print(f"Copy {ceilings.copy / 1e12:g} TB/s read + written, matrix {ceilings.matrix / 1e12:g} TF/s.\n")
    print("| lora_linear, forward + backward, rank 16 | bytes a token beside the products | over the frozen linears alone |")
    print("|---|---|---|")
    for way, (of_k, of_n, ratio) in linear_ratios(ceilings).items():
        print(f"| {way} | {of_k}K + {of_n}N | {ratio:.2f} |")
    alone, shared = many_adapters(ceilings)
    print(f"\n8 adapters of rank 16 in one batch, forward: {alone:.2f} of the base's speed, {shared:.2f} in groups.\n")

    print("| 8B layer, bytes kept for backward a token | plain autograd, bf16 | needed |")
    print("|---|---|---|")
    for what, plain, needed in (kept := kept_bytes()):
        print(f"| {what} | {plain:,} | {needed:,} |")
    plain, needed = sum(row[1] for row in kept), sum(row[2] for row in kept)
    print(f"| sum | {plain:,} | {needed:,} |")
    print(f"| 32 layers, 8192 tokens | {32 * 8192 * plain / 1e9:.1f} GB | {32 * 8192 * needed / 1e9:.1f} GB |\n")

    parts = step_8b(ceilings, linear_ratios(ceilings)["all fused"][2])
    whole = sum(parts.values())
    print("Training step, 8B, rank 16 on all linears, 4096 packed tokens: "
          + ", ".join(f"{name} {t:.1f}" for name, t in parts.items()) + f": {whole:.1f} µs a token, {1e6 / whole:,.0f} tokens/s\n")  # fmt: skip

    print("| operation | shape | MB | GFLOP | least µs | limited by |")
    print("|---|---|---|---|---|---|")
    for name, shape, steps in catalogue():
        moved, done = total(steps)
        least = seconds(steps, ceilings)
        by = "copy" if moved / ceilings.copy > done / ceilings.matrix else "matrix"
        print(f"| {name} | {shape} | {moved / 1e6:,.0f} | {done / 1e9:,.0f} | {1e6 * least:,.0f} | {by} |")


def catalogue():
    """(operation, shape, steps) of one large shape each."""
    T, C, inner = 8192, 4096, 14336
    n, wide = T * C, T * inner
    heads = dict(Hq=32, Hkv=8, D=128)
    packed = [4096, 2048, 1024, 512, 256, 128, 64, 64]
    return [
        ("frozen linear, fwd + dx", "4096 x 4096, T 8192", frozen_linear(T, C, C, True)),
        ("lora_linear, fwd + bwd", "4096 x 4096, T 8192, r 16", lora_linear(T, C, C, 16, True)),
        ("lora_shrink with copy", "K 4096, T 8192, r 16", lora_shrink(T, C, 16, True)),
        ("lora_grad_b with copy", "N 4096, T 8192, r 16", lora_grad_b(T, C, 16, True)),
        ("lora_grad_a", "K 4096, T 8192, r 16", lora_grad_a(T, C, 16)),
        ("lora_expand", "K 4096, T 8192, r 16", lora_expand(T, C, 16)),
        ("attention, causal, fwd", "packed 8192, 32/8 heads of 128", attention(packed, **heads, causal=True)),
        ("attention, causal, fwd + bwd", "same", attention(packed, **heads, causal=True, backward=True)),
        ("prefix_attention, fwd", "P 64, same", prefix_attention(T, 32, 128, 64)),
        ("prefix_attention, bwd", "P 64, same", prefix_attention(T, 32, 128, 64, True)),
        ("attention_decode", "64 sequences of 4096", attention_decode([4096] * 64, **heads)),
        ("rational, fwd", "8192 x 14336", elements(wide, 1, 1)),
        ("rational, bwd", "8192 x 14336", elements(wide, 2, 1)),
        ("prompt_generator, fwd + bwd", "8192 rows of 4096, m 256, P 4", prompt_generator(T, C, 256, 4, True)),
        ("rms_norm + residual, fwd", "8192 x 4096", elements(n, 2, 2)),
        ("rms_norm + residual, bwd", "8192 x 4096", elements(n, 3, 1)),
        ("rotary, fwd", "8192 x (32 + 8) x 128", elements(T * 40 * 128, 1, 1)),
        ("gated MLP, fwd", "8192 x 14336", elements(wide, 2, 1)),
        ("gated MLP, bwd", "8192 x 14336", elements(wide, 3, 2)),
        ("token_losses, fwd + bwd", "T 8192, C 4096, V 128256", token_losses(T, C, 128256)),
        ("adamw + border", "8B, rank 16: 42 M", adamw(41_943_040, True)),
    ]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--copy", type=float, default=H200.copy / 1e12)
    parser.add_argument("--matrix", type=float, default=H200.matrix / 1e12)
    options = parser.parse_args()
    print_tables(Ceilings(options.copy * 1e12, options.matrix * 1e12))


if __name__ == "__main__":
    main()
