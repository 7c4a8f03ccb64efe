"""
What speed.py measures: a case is an operation, a shape and a direction with its contenders. Context is what the files of cases
(linear_cases.py, attention_cases.py, step_cases.py) draw arrays and contenders from; adding an operation is one function there.
"""

import ctypes
import importlib.util
from dataclasses import dataclass, field
from typing import Callable


HAS_TORCH = importlib.util.find_spec("torch") is not None


@dataclass
class Case:
    operation: str
    case: str
    direction: str  # forward, backward, forward + backward
    steps: list  # predict.Step
    contenders: dict  # name -> run; those of ours are named peft4j …
    shape: dict = field(default_factory=dict)  # what targets.py looks for
    repeats: int = 25
    each: Callable = lambda i: None  # before each repeat
    mean: bool = False  # of different work in each repeat, else the median
    memory: bool = False  # peak memory of a run as well
    check: Callable = None  # in a dry run, where a kernel was called: [(array that it wrote, what it should hold)]


class Context:
    """What the cases draw on."""

    def __init__(self, device, kernels, torch=False, quick=False, dry=False):
        self.device, self.kernels, self.torch, self.quick, self.dry = device, kernels, torch, quick, dry

    def size(self, full, tiny):
        return tiny if self.dry else full

    def some(self, shapes, tiny):
        """The shapes of a case: all, one, or a tiny one."""
        return [tiny] if self.dry else shapes[:1] if self.quick else shapes

    def normal(self, *shape, **more):
        return self.device.normal(*shape, **more)

    def has(self, *names):
        return self.kernels is not None and all(self.kernels.has(name) for name in names)

    def kernel(self, name, *arguments):
        """A call of peft4j_cuda.h on arrays, structs and numbers, with the stream last."""
        real = [self.device.pointer(a) if hasattr(a, "shape") else a for a in arguments]
        function = getattr(self.kernels, name)
        return lambda: function(*real, self.device.stream)

    def struct(self, name, **fields):
        """A params struct; a value may be an array (its pointer), a number, a struct, or a list of structs."""
        p = self.kernels.structs[f"peft4j_cuda_{name}"]()
        p.arrays = list(fields.values())  # live as long as the struct
        for field_name, value in fields.items():
            if hasattr(value, "shape"):
                value = self.device.pointer(value)
            elif isinstance(value, list):
                kind = dict(p._fields_)[field_name]
                if issubclass(kind, ctypes.Array):
                    value = kind(*value)
                else:
                    value = (type(value[0]) * len(value))(*value)
                    p.arrays.append(value)
                    value = ctypes.cast(value, kind)
            setattr(p, field_name, value)
        return p

    def scratch(self, p, name, *arguments):
        """Gives a params struct the memory that a kernel asks for; of the struct itself unless arguments say of what."""
        floats = getattr(self.kernels, name)(*(arguments or (p,)))
        p.arrays.append(self.device.empty(max(1, floats), type="float32"))
        p.scratch = self.device.pointer(p.arrays[-1])

    def copying(self, n_bytes):
        """A copy that moves n_bytes, read and written."""
        start = self.device.normal(max(1, int(n_bytes) // 8), type="float32")
        to = self.device.empty(*start.shape, type="float32")
        return lambda: self.device.copy(to, start)

    def providers(self, operation, names, make):
        """{peft4j NAME: run} for those that the operation has on this device; make() runs it."""
        import operations

        contenders = {}
        for name in names:
            if operations.has(operation, name, self.device.kind):

                def run(name=name):
                    operations.set_kernels(f"{operation}={name}")
                    make()
                    operations.set_kernels("auto")

                contenders[f"peft4j {name}"] = run
        return contenders

    def compiled(self, function):
        import torch

        return torch.compile(function, backend="eager" if self.dry else "inductor", dynamic=False)


def both(forward, inputs):
    """Forward, then the gradients of the inputs for a fixed gradient of the result."""
    import torch

    kept = {}

    def run():
        y = forward()
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        if "dy" not in kept:
            kept["dy"] = [torch.randn_like(t) for t in ys]
        torch.autograd.grad(ys, inputs, kept["dy"])

    return run


def without_graph(forward):
    import torch

    def run():
        with torch.no_grad():
            forward()

    return run
