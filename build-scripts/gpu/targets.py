"""The speeds to reach on an H200, and what the rows of a run say of them."""

from dataclasses import dataclass
from typing import Callable

import predict


@dataclass
class Target:
    kernel: str
    against: str
    reach: float
    measured: Callable  # Rows -> number or None
    unit: str = "×"
    at_most: bool = False

    def __str__(self):
        return f"{'≤' if self.at_most else '≥'} {self.reach:g}{self.unit}"

    def met(self, value):
        return value <= self.reach if self.at_most else value >= self.reach


class Rows:
    """The rows of one run, asked by operation, contender, direction and shape."""

    def __init__(self, speed):
        self.rows = [r for r in speed.get("rows", []) if r.get("microseconds")]
        self.auto = speed.get("auto", {})

    def find(self, operation, direction=None, **shape):
        return [r for r in self.rows if r["operation"] == operation and direction in (None, r["direction"])
                and all(r["shape"].get(key) == value for key, value in shape.items())]  # fmt: skip

    def time(self, operation, contender, direction=None, **shape):
        """Microseconds, or None; contender "auto" is the provider that the run's libpeft4j chose."""
        if contender == "auto":
            contender = f"peft4j {self.auto.get(operation, '')}"
        times = [r["microseconds"] for r in self.find(operation, direction, **shape) if r["contender"] == contender]
        return times[0] if times else None

    def worst_ratio(self, operation, ours, peers, direction=None, **shape):
        """The least (best peer's time / our time) over the cases that both ran."""
        ratios = []
        cases = dict.fromkeys((r["case"], r["direction"]) for r in self.find(operation, direction, **shape))
        for case, way in cases:
            times = {r["contender"]: r["microseconds"] for r in self.find(operation, way, **shape) if r["case"] == case}
            ours_name = f"peft4j {self.auto.get(operation, '')}" if ours == "auto" else ours
            best = [times[p] for p in peers if p in times]
            if ours_name in times and best:
                ratios.append(min(best) / times[ours_name])
        return min(ratios) if ratios else None


def quotient(a, b):
    return a / b if a and b else None


def layer(rows, contender, T=4096, r=16, dropout=0.1):
    """Forward + backward of the seven linears of an 8B layer, each alone."""
    times = [rows.time("lora_linear", contender, "forward + backward", N=N, K=K, T=T, r=r, dropout=dropout) for _, N, K, _ in predict.LAYER_8B]
    return sum(times) if all(times) else None


def over_layer(peer, ours):
    return lambda rows: quotient(layer(rows, peer), layer(rows, ours))


def tenants(ours):
    def measured(rows):
        groups = dict.fromkeys(g for _, _, _, g in predict.LAYER_8B)
        times = [[rows.time("lora_linear", who, "forward", tenants=8, group=g, r=16) for g in groups] for who in ("frozen alone", ours)]
        return quotient(*[sum(t) if all(t) else None for t in times])

    return measured


def against(operation, ours, peers, direction=None, **shape):
    return lambda rows: rows.worst_ratio(operation, ours, peers, direction, **shape)


def one_pass(rows):
    """The worst share of the copy's rate among our norm, rotary and MLP kernels."""
    kernels = ("rms_norm", "layer_norm kernel", "rotary", "gated_mlp", "gelu kernel")
    found = [against(operation, "peft4j kernel", ["copy"])(rows) for operation in kernels]
    return min(filter(None, found), default=None)


def loss_memory(rows):
    peaks = [r["peak_bytes"] for r in rows.find("token_losses") if r["contender"].startswith("peft4j") and r.get("peak_bytes")]
    return max(peaks) / 1e9 if peaks else None


SDPA = ["SDPA flash", "SDPA cudnn"]
BOTH = "forward + backward"
PADDED = ["padded, concatenated keys"]

TARGETS = [
    Target("lora_linear fwd+bwd, 8B layer, dropout 0.1, library products", "eager PyTorch bf16", 1.20, over_layer("eager", "peft4j library")),
    Target("same, dual_gemm", "eager PyTorch bf16", 0.87, over_layer("eager", "peft4j own")),
    Target("same, dual_gemm by wgmma", "eager PyTorch bf16", 1.08, over_layer("eager", "peft4j own, sm_90a")),
    Target("same, auto", "Hugging Face PEFT's layer", 1.65, over_layer("PEFT", "auto")),
    Target("same, library products", "frozen linear alone", 1.15, over_layer("peft4j library", "frozen alone"), at_most=True),
    Target("same, dual_gemm", "frozen linear alone", 1.52, over_layer("peft4j own", "frozen alone"), at_most=True),
    Target("same, dual_gemm by wgmma", "frozen linear alone", 1.22, over_layer("peft4j own, sm_90a", "frozen alone"), at_most=True),
    Target("8 adapters of rank 16 in one batch, fwd, groups", "base alone", 0.93, tenants("auto")),
    Target("attention, no prefix, fixed shapes, auto", "best of cuDNN and flash", 0.50, against("attention", "auto", SDPA, kind="fixed")),
    Target("same, own sm_80 path, fwd+bwd", "best of cuDNN and flash", 0.39, against("attention", "peft4j own", SDPA, BOTH, kind="fixed")),
    Target("same, own sm_90a path, fwd", "best of cuDNN and flash", 0.90, against("attention", "peft4j own, sm_90a", SDPA, "forward", kind="fixed")),
    Target("same, own sm_90a path, fwd+bwd", "best of cuDNN and flash", 0.70, against("attention", "peft4j own, sm_90a", SDPA, BOTH, kind="fixed")),
    Target("attention, 200 different packings, auto", "flash varlen", 1.0, against("attention", "auto", ["flash varlen"], kind="ragged")),
    Target("same, own sm_90a path", "flash varlen", 1.4, against("attention", "peft4j own, sm_90a", ["flash varlen"], kind="ragged")),
    Target("packed + prefix of 4, fwd+bwd", "concatenated keys, padded SDPA", 1.3, against("attention", "auto", PADDED, kind="prefix", P=4)),
    Target("packed + prefix of 64, fwd+bwd", "concatenated keys, padded SDPA", 1.3, against("attention", "auto", PADDED, kind="prefix", P=64)),
    Target("rational fwd", "copy of the same bytes", 0.92, against("rational", "peft4j kernel", ["copy"], "forward")),
    Target("rational bwd", "copy of the same bytes", 0.55, against("rational", "peft4j kernel", ["copy"], "backward")),
    Target("norm, rotary, MLP activation", "copy of the same bytes", 0.85, one_pass),
    Target("token_losses, V 128k, T 8192", "PyTorch eager", 1.5, against("token_losses", "peft4j own", ["eager"])),
    Target("token_losses, peak extra memory", "", 0.6, loss_memory, unit=" GB", at_most=True),
]  # fmt: skip
