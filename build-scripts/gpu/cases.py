"""
What speed.py measures: a case is an operation, a shape and a direction with its contenders. The functions of
linear_cases.py, attention_cases.py and step_cases.py yield cases; they draw arrays, kernels and providers from a Context. Adding an
operation is one function there.

A contender is a function without arguments. Those of ours are named peft4j …: `peft4j own` and `peft4j library` are providers of
an operation of native/peft4j.h, `peft4j kernel` is a call of cuda/peft4j_cuda.h.
"""

import ctypes
import importlib.util
from collections.abc import Callable
from dataclasses import dataclass, field

import predict

HAS_TORCH = importlib.util.find_spec("torch") is not None
BFLOAT16 = 1  # dtype of peft4j_cuda.h


@dataclass
class Case:
    operation: str
    case: str
    direction: str
    steps: list  # predict.Step
    contenders: dict  # name -> run
    shape: dict = field(default_factory=dict)  # what targets.py looks for
    repeats: int = 25
    each: Callable = lambda i: None  # before each repeat
    mean: bool = False  # of different work in each repeat, else the median
    memory: bool = False  # peak memory of a run as well
    check: Callable | None = None  # in a dry run: [(array that a kernel wrote, what it should hold)]


class Context:
    def __init__(self, device, kernels, torch=False, quick=False, dry=False):
        self.device, self.kernels, self.torch, self.quick, self.dry = device, kernels, torch, quick, dry
        self.normal, self.empty, self.zeros = device.normal, device.empty, device.zeros
        self.integers, self.pointer = device.integers, device.pointer

    def size(self, full, tiny):
        return tiny if self.dry else full

    def some(self, shapes, tiny):
        """The shapes of a case: all, one, or a tiny one."""
        return [tiny] if self.dry else shapes[:1] if self.quick else shapes

    # ---- contenders

    def has(self, *kernels):
        return all(self.kernels.has(name) for name in kernels)

    def kernel(self, name, *arguments):
        """A call of peft4j_cuda.h on arrays, structs and numbers, with the stream last."""
        real = [self.pointer(a) if hasattr(a, "shape") else a for a in arguments]
        function = getattr(self.kernels, name)
        return lambda: function(*real, self.device.stream)

    def struct(self, name, **fields):
        """A params struct; a value is an array (its pointer goes in), a number, a struct, or a list of structs."""
        p = self.kernels.structs[f"peft4j_cuda_{name}"]()
        p.alive = list(fields.values())
        for name_, value in fields.items():
            if hasattr(value, "shape"):
                value = self.pointer(value)
            elif isinstance(value, list):
                array, kind = (type(value[0]) * len(value))(*value), dict(p._fields_)[name_]
                p.alive.append(array)
                value = kind(*value) if issubclass(kind, ctypes.Array) else ctypes.cast(array, kind)
            setattr(p, name_, value)
        return p

    def by_wgmma(self, name, p, **fields):
        """The same call by the kernel for Hopper cards; {} where the library takes another."""
        again = type(p).from_buffer_copy(p)
        again.alive = p.alive
        for field, value in {"sm90a": 1, **fields}.items():
            setattr(again, field, value)
        run = self.kernel(name, again)
        run()
        return {"peft4j kernel, sm_90a": run} if b"sm90a" in self.kernels.last_kernel() else {}

    def scratch(self, p, name, *arguments):
        """Gives a params struct the floats that the kernel asks for; name(p), or name(*arguments), says how many."""
        floats = getattr(self.kernels, name)(*(arguments or (p,)))
        p.alive.append(self.empty(max(1, floats), type="float32"))
        p.scratch = self.pointer(p.alive[-1])

    def copying(self, steps):
        """A copy that moves as many bytes, read and written."""
        start = self.normal(max(1, int(predict.total(steps)[0]) // 8), type="float32")
        to = self.empty(*start.shape, type="float32")
        return {"copy": lambda: self.device.copy(to, start)}

    def providers(self, operation, forward, inputs=(), sm_90a=False):
        """{peft4j NAME: (forward, inputs)} for each provider that the operation has on this device, and own kernels' form for
        Hopper cards."""
        import operations

        def by(setting):
            def run():
                operations.set_kernels(setting)
                y = forward()
                operations.set_kernels("auto")
                return y

            return run

        names = [name for name in ("library", "own") if operations.has(operation, name, self.device.kind)]
        settings = {name: f"{operation}={name}" for name in names}
        if sm_90a and self.is_hopper():
            settings["own, sm_90a"] = operations.SM_90A[operation]
        return {f"peft4j {name}": (by(setting), inputs) for name, setting in settings.items()}

    def is_hopper(self):
        import torch

        return self.device.kind == "cuda" and torch.cuda.get_device_capability() == (9, 0)

    def compiled(self, function):
        import torch

        return torch.compile(function, backend="eager" if self.dry else "inductor", dynamic=False)


def forward_alone(forward, inputs=()):
    import torch

    def run():
        with torch.no_grad():
            forward()

    return run


def both(forward, inputs):
    """Forward, then the gradients of the inputs for a fixed gradient of the result."""
    import torch

    dys = []

    def run():
        y = forward()
        ys = list(y) if isinstance(y, (list, tuple)) else [y]
        if not dys:
            dys.extend(torch.randn_like(t) for t in ys)
        torch.autograd.grad(ys, inputs, dys)

    return run


DIRECTIONS = {"forward": forward_alone, "forward + backward": both}


def each_way(operation, case, steps, pairs, shape=None, directions=DIRECTIONS, extra=lambda steps: {}, **more):
    """Cases of the forward alone and of both ways. pairs: {contender: (forward, inputs that get gradients)}; steps(backward): what
    is to be done, of which extra makes more contenders."""
    for direction in directions:
        way, to_do = DIRECTIONS[direction], steps(direction != "forward")
        contenders = extra(to_do) | {name: way(*pair) for name, pair in pairs.items()}
        yield Case(operation, case, direction, to_do, contenders, shape or {}, **more)
