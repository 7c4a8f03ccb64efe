"""
The rule of native/test/check.h in Python: outputs and gradients of an operation in the type under test are as near to the
formula in double as the same formula computed in that type by PyTorch, within a factor of two:

    max|own - reference| <= 2·max|plain - reference| + absolute + 1 ulp of the type at max|reference|

What plain may hit by luck (few numbers, sums that cancel) is counted as check.h counts it.
"""

import math
from dataclasses import dataclass
from typing import Callable

import torch

DIGITS = {torch.bfloat16: 8, torch.float16: 11, torch.float32: 24}
MANY_ULPS = 32 * 2.0**-24


@dataclass
class Check:
    operation: str
    what: str
    inputs: list  # tensors in double on the processor, or None
    trained: list  # which of them get a gradient
    run: Callable  # typed inputs -> outputs, by libpeft4j
    formula: Callable  # the same by formulas.py, in the type of the inputs
    types: tuple = (torch.float32, torch.bfloat16, torch.float16)
    wide: tuple = ()  # inputs that stay float32 under 16-bit types
    absolute: float = 1e-5
    providers: tuple = ("auto", "own", "library", "reference")
    repeatable: tuple = ("own",)  # providers whose second run gives the same bits


def random(*shape, seed, deviation=1.0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)) * deviation


def largest(t):
    return t.abs().max().item() if t.numel() else 0.0


def distance(a, b):
    return largest(a.double() - b.double())


def few(t):
    return t.numel() < 100


def ulp(type, x):
    return 0 if x == 0 else 2.0 ** (math.frexp(x)[1] - DIGITS[type])


def results(check, function, type, device, in_double=False, change=0.0):
    """Outputs, then the gradients of the trained inputs for fixed random gradients of the outputs."""

    def changed(t, seed):
        return (t * (1 + change * random(*t.shape, seed=seed).sign().to(t))).to(t.dtype) if change else t

    inputs, trained = [], []
    for i, t in enumerate(check.inputs):
        if t is not None:
            own = torch.float32 if i in check.wide and type != torch.float64 else type
            t = changed(t.to(device).to(own).to(torch.float64 if in_double else own), 1313 + i)
            if i in check.trained:
                trained.append(t.requires_grad_())
        inputs.append(t)
    outputs = function(inputs)
    outputs = list(outputs) if isinstance(outputs, (list, tuple)) else [outputs]
    if not trained:
        return outputs
    open_ends = [y for y in outputs if y.requires_grad]
    given = [changed(random(*y.shape, seed=77 + i).to(device).to(type).to(y.dtype), 1717 + i) for i, y in enumerate(open_ends)]
    gradients = torch.autograd.grad(open_ends, trained, given, allow_unused=True)
    return [y.detach() for y in outputs] + [torch.zeros_like(t) if g is None else g for g, t in zip(gradients, trained)]


class Truth:
    """What an operation should give in one type; the same for all providers."""

    def __init__(self, check, type, device):
        self.check, self.type, self.device = check, type, device
        self.exact = results(check, check.formula, type, device, in_double=True)
        plain = results(check, check.formula, type, device)
        self.outputs = len(self.exact) - sum(check.inputs[i] is not None for i in check.trained)
        self.allowed = [distance(p, e) for p, e in zip(plain, self.exact)]
        relative = max((a / max(largest(e), 1e-30) for a, e in zip(self.allowed, self.exact)), default=0)
        self.allowed = [relative * largest(e) if few(e) else a for a, e in zip(self.allowed, self.exact)]
        self.moved = {}  # by the share that the given numbers changed by

    def bound(self, i, worst):
        if not worst <= 2 * self.allowed[i]:  # seldom, and costs another run
            share = max(MANY_ULPS, 2.0 ** -DIGITS[self.type]) if few(self.exact[i]) else MANY_ULPS
            if share not in self.moved:
                self.moved[share] = results(self.check, self.check.formula, self.type, self.device, True, share)
            self.allowed[i] = max(self.allowed[i], distance(self.moved[share][i], self.exact[i]))
        return 2 * self.allowed[i] + self.check.absolute

    def problems(self, own):
        """What is wrong with these results: a list of sentences."""
        found = []
        for i, (y, e) in enumerate(zip(own, self.exact)):
            name = f"output {i}" if i < self.outputs else f"gradient {i - self.outputs}"
            if y.shape != e.shape:
                found.append(f"{name} has shape {list(y.shape)}, expected {list(e.shape)}")
                continue
            worst = distance(y, e)
            bound = self.bound(i, worst) + (ulp(y.dtype, largest(e)) if y.dtype in DIGITS else 0)
            if not worst <= bound:
                at = (y.double() - e.double()).abs().nan_to_num(math.inf).flatten().argmax().item()
                found.append(f"{name}: {y.flatten()[at].item():.6g}, should be {e.flatten()[at].item():.6g} at element {at} of "
                             f"{list(y.shape)}, difference {worst:.3g} over the bound {bound:.3g}")  # fmt: skip
        return found
