"""libpeft4j in Python: torch.ops.peft4j with names for the arguments."""

import torch

# {operation whose own kernels have a form for Hopper cards: the setting that takes it}
SM_90A = {
    "lora_linear": "lora_linear=own,dual_gemm=sm_90a",
    "attention": "attention=own,attention_forward=sm_90a,attention_backward=sm_90a",
}


def load(torch_library, cuda_library=None):
    torch.ops.load_library(str(torch_library))
    if cuda_library:
        torch.ops.peft4j.load_cuda(str(cuda_library))


def set_kernels(setting):
    torch.ops.peft4j.set_kernels(setting)


def kernels(device):
    """{operation: (provider that `auto` takes, why)}"""
    text = torch.ops.peft4j.cuda_kernels_in_use() if device == "cuda" else torch.ops.peft4j.kernels_in_use()
    return {line.split("\t")[0]: tuple(line.split("\t")[1:]) for line in text.splitlines() if "\t" in line}


def has(operation, provider, device):
    """Whether the operation has this provider on the device."""
    try:
        set_kernels(f"{operation}={provider}")
        return kernels(device)[operation][0] == provider
    except RuntimeError:
        return False
    finally:
        set_kernels("auto")


def weight(parts):
    return torch.classes.peft4j.Weight(list(parts))


def lora_linear(x, weight, a, b, place, scale, dropout=None, seed=1, bias=None):
    return torch.ops.peft4j.lora_linear(x, weight, bias, a, b, place, scale, dropout or [0.0] * len(a), seed)


def attention(q, k, v, cu_q, cu_k=None, prefix_k=None, prefix_v=None, gate=None, causal=False, scale=None, window=0, softcap=0.0,
              bias_table=None, dropout_p=0.0, seed=1, bias_bidirectional=False, bias_max_distance=0):  # fmt: skip
    cu_k = cu_q if cu_k is None else cu_k
    longest = [int(cu.diff().max()) if len(cu) > 1 else 0 for cu in (cu_q, cu_k)]
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return torch.ops.peft4j.attention(q, k, v, cu_q, cu_k, *longest, prefix_k, prefix_v, gate, causal, scale, window, softcap,
                                      bias_table, bias_bidirectional, bias_max_distance, dropout_p, seed)  # fmt: skip


def attention_decode(q, k, v, cu_k, longest, block_table=None, prefix_k=None, prefix_v=None, scale=None, window=0, softcap=0.0):
    scale = q.shape[-1] ** -0.5 if scale is None else scale
    return torch.ops.peft4j.attention_decode(q, k, v, cu_k, longest, block_table, prefix_k, prefix_v, scale, window, softcap)


def layer_norm(x, residual, weight, bias, eps=1e-5, dropout_p=0.0, seed=1):
    return torch.ops.peft4j.layer_norm(x, residual, weight, bias, eps, dropout_p, seed)


def rms_norm(x, residual, weight, eps=1e-6, weight_offset=0.0, dropout_p=0.0, seed=1):
    return torch.ops.peft4j.rms_norm(x, residual, weight, eps, weight_offset, dropout_p, seed)


def rotary(q, k, positions, inverse_frequencies, scaling=1.0, interleaved=False):
    return torch.ops.peft4j.rotary(q, k, positions, inverse_frequencies, scaling, interleaved)


def gated_mlp(gate, up, activation="silu"):
    return torch.ops.peft4j.gated_mlp(gate, up, activation)


def rational(x, numerator, denominator, version="A", seed=1):
    return torch.ops.peft4j.rational(x, numerator, denominator, version, seed)


def prompt_generator(h, cu, instruction, down, pool, numerator, denominator, up, down_bias=None, up_bias=None, version="A", seed=1):
    return torch.ops.peft4j.prompt_generator(h, cu, instruction, down, down_bias, pool, numerator, denominator, version, seed, up, up_bias)  # fmt: skip


def gelu(x):
    return torch.ops.peft4j.gelu(x)


def dropout(x, p, seed=1):
    return torch.ops.peft4j.dropout(x, p, seed)


def token_losses(hidden, weight, labels, bias=None, a=(), b=(), place=(), scale=(), dropout=None, seed=1, softcap=0.0, label_smoothing=0.0):
    """weight: what weight() gives, or a tensor that is trained."""
    if isinstance(weight, torch.Tensor):
        return torch.ops.peft4j.token_losses_of_trained_head(hidden, weight, bias, labels, softcap, label_smoothing)
    low_rank = list(a), list(b), list(place), list(scale), dropout or [0.0] * len(a), seed
    return torch.ops.peft4j.token_losses(hidden, weight, bias, *low_rank, labels, softcap, label_smoothing)
