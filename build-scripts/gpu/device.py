"""
Where the speed script's arrays live and how its work is timed. Three of a kind: PyTorch's CUDA device, a card without PyTorch
(libpeft4j_bench.so), and a processor for dry runs, which runs everything once and times nothing.

    normal(*shape), zeros(*shape)  random numbers, zeros; type "bfloat16", "float16" or "float32"
    empty(*shape), pointer(array)  what a kernel writes, and where it is
    stream                         for the kernels of cuda/peft4j_cuda.h
    measure(contenders, repeats)   {name: sorted microseconds}

measure takes turns: in each repeat every contender runs once, so that a noisy moment of the machine meets all of them. Before each
run a buffer larger than L2 is written, and where PyTorch is the card is kept busy until all launches are queued: what
is timed is the card.
"""

import ctypes

DTYPES = {"float32": 0, "bfloat16": 1, "float16": 2}  # of peft4j_cuda.h
SIZES = {"float32": 4, "bfloat16": 2, "float16": 2, "int64": 8, "int32": 4}
WARM_UP = 3
FLUSH = 512 << 20  # bytes, several times any L2
HIDE_LAUNCHES = 1_500_000  # cycles, under a millisecond


class TorchDevice:
    kind = "cuda"

    def __init__(self):
        import torch

        self.torch = torch
        self.flush_buffer = torch.empty(FLUSH, dtype=torch.uint8, device=self.kind)
        self.generator = torch.Generator(self.kind).manual_seed(0)

    @property
    def stream(self):
        return self.torch.cuda.current_stream().cuda_stream

    def normal(self, *shape, type="bfloat16", deviation=1.0):
        # In halves, because the numbers are made in float32.
        array = self.empty(*shape, type=type)
        for part in array.flatten().split(1 << 28):
            part.copy_(self.torch.randn(part.shape, generator=self.generator, device=self.kind) * deviation)
        return array

    def empty(self, *shape, type="bfloat16"):
        return self.torch.empty(shape, dtype=getattr(self.torch, type), device=self.kind)

    def zeros(self, *shape, type="bfloat16"):
        return self.empty(*shape, type=type).zero_()

    def integers(self, values, type="int64"):
        return self.torch.tensor(list(values), dtype=getattr(self.torch, type), device=self.kind)

    def pointer(self, array):
        return None if array is None else array.data_ptr()

    def copy(self, to, start):
        to.copy_(start)

    def measure(self, contenders, repeats, each=lambda i: None):
        cuda = self.torch.cuda
        for _ in range(WARM_UP):
            each(0)
            for run in contenders.values():
                run()
        events = {name: [] for name in contenders}
        for i in range(repeats):
            each(i)
            for name, run in contenders.items():
                begin, end = cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
                self.flush_buffer.fill_(i % 128)
                cuda._sleep(HIDE_LAUNCHES)
                begin.record()
                run()
                end.record()
                events[name].append((begin, end))
        cuda.synchronize()
        return {name: sorted(1e3 * b.elapsed_time(e) for b, e in pairs) for name, pairs in events.items()}

    def peak_bytes(self, run):
        """The most memory that a run has beside what there was before."""
        cuda = self.torch.cuda
        cuda.synchronize()
        cuda.reset_peak_memory_stats()
        before = cuda.memory_allocated()
        run()
        cuda.synchronize()
        return cuda.max_memory_allocated() - before

    def release(self):
        self.torch.cuda.empty_cache()


class DryRun(TorchDevice):
    """CPU tensors: that everything runs."""

    kind = "cpu"
    stream = None

    def __init__(self):
        import torch

        self.torch = torch
        self.generator = torch.Generator().manual_seed(0)

    def measure(self, contenders, repeats, each=lambda i: None):
        each(0)
        for run in contenders.values():
            run()
        return {name: [] for name in contenders}

    def peak_bytes(self, run):
        run()

    def release(self):
        pass


class Array:
    def __init__(self, device, shape, type):
        self.device, self.shape, self.type = device, shape, type
        self.count = 1
        for n in shape:
            self.count *= n
        self.bytes = self.count * SIZES[type]
        self.data = device.library.peft4j_bench_malloc(self.bytes or 1)
        if not self.data:
            raise MemoryError(f"{self.bytes} bytes of device memory for {shape} {type}")

    def __del__(self):
        if getattr(self, "data", None):
            self.device.library.peft4j_bench_free(self.data)


class BareDevice:
    """A card without PyTorch."""

    kind = "cuda"
    stream = None

    def __init__(self, path):
        pointer, number = ctypes.c_void_p, ctypes.c_int64
        self.library = library = ctypes.CDLL(str(path))
        for name, result, arguments in [
            ("malloc", pointer, [number]),
            ("free", ctypes.c_int, [pointer]),
            ("upload", ctypes.c_int, [pointer, pointer, number]),
            ("normal", ctypes.c_int, [pointer, number, ctypes.c_int, ctypes.c_uint64, ctypes.c_float]),
            ("copy", ctypes.c_int, [pointer, pointer, number]),
            ("flush", ctypes.c_int, [pointer, number]),
            ("event", pointer, []),
            ("record", ctypes.c_int, [pointer]),
            ("milliseconds", ctypes.c_double, [pointer, pointer]),
        ]:
            function = getattr(library, f"peft4j_bench_{name}")
            function.restype, function.argtypes = result, arguments
        self.seed = 0
        self.flush_buffer = Array(self, (FLUSH // 4,), "float32")

    def normal(self, *shape, type="bfloat16", deviation=1.0):
        array = self.empty(*shape, type=type)
        self.seed += 1
        self.check(self.library.peft4j_bench_normal(array.data, array.count, DTYPES[type], self.seed, deviation))
        return array

    def empty(self, *shape, type="bfloat16"):
        return Array(self, shape, type)

    def zeros(self, *shape, type="bfloat16"):
        return self.normal(*shape, type=type, deviation=0.0)

    def integers(self, values, type="int64"):
        array = self.empty(len(values), type=type)
        host = ((ctypes.c_int64 if type == "int64" else ctypes.c_int32) * len(values))(*values)
        self.check(self.library.peft4j_bench_upload(array.data, host, array.bytes))
        return array

    def pointer(self, array):
        return None if array is None else array.data

    def copy(self, to, start):
        self.check(self.library.peft4j_bench_copy(to.data, start.data, to.bytes))

    def check(self, status):
        if status != 0:
            raise RuntimeError(f"CUDA error {status}")

    def measure(self, contenders, repeats, each=lambda i: None):
        library = self.library
        begin, end = library.peft4j_bench_event(), library.peft4j_bench_event()
        times = {name: [] for name in contenders}
        for i in range(-WARM_UP, repeats):
            each(max(i, 0))
            for name, run in contenders.items():
                self.check(library.peft4j_bench_flush(self.flush_buffer.data, self.flush_buffer.bytes))
                library.peft4j_bench_record(begin)
                run()
                library.peft4j_bench_record(end)
                milliseconds = library.peft4j_bench_milliseconds(begin, end)
                if milliseconds < 0:
                    raise RuntimeError(f"{name} failed on the card")
                if i >= 0:
                    times[name].append(1e3 * milliseconds)
        return {name: sorted(found) for name, found in times.items()}

    def peak_bytes(self, run):
        run()

    def release(self):
        pass
