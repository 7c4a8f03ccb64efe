"""
cuda/peft4j_cuda.h for ctypes: the header itself is read, so that what is called here is what it declares.

    cuda = abi.Library(path)
    cuda.fixed_order_sum(out, partials, n, splits, 0, stream)       raises the library's message where the status is not 0
    cuda.structs["peft4j_cuda_…"](field=…)                        a params struct; pass it by name: it goes by reference
"""

import ctypes
import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[2] / "cuda/peft4j_cuda.h"
NUMBERS = {
    "int": ctypes.c_int,
    "float": ctypes.c_float,
    "double": ctypes.c_double,
    "int32_t": ctypes.c_int32,
    "uint32_t": ctypes.c_uint32,
    "int64_t": ctypes.c_int64,
    "uint64_t": ctypes.c_uint64,
    "size_t": ctypes.c_size_t,
}


def type_of(declaration, structs):
    """ctypes' type and the name of "const float* x"."""
    words = re.findall(r"\w+|\*", re.sub(r"\b(const|struct)\b", " ", declaration))
    stars, name = words.count("*"), words[-1]
    base = words[0]
    if stars == 0:
        return (NUMBERS.get(base) or structs[base]), name
    if stars == 1 and base in structs:
        return ctypes.POINTER(structs[base]), name
    return ctypes.c_void_p, name


def read_header(text=None):
    """({name: struct}, {function: (result, [argument types])})"""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text or HEADER.read_text(), flags=re.S)
    text = re.sub(r"^#.*$", " ", text, flags=re.M)
    structs, functions = {}, {}
    for body, name in re.findall(r"typedef\s+struct\s*\w*\s*\{(.*?)\}\s*(\w+)\s*;", text, flags=re.S):
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": list(fields(body, structs))})
    for result, name, arguments in re.findall(r"PEFT4J_CUDA_API\s+([\w\s*]+?)\s*\b(peft4j_cuda_\w+)\s*\((.*?)\)\s*;", text, flags=re.S):
        types = [type_of(a, structs)[0] for a in arguments.split(",") if a.strip() != "void"]
        functions[name] = (ctypes.c_char_p if "char" in result else type_of(result + " _", structs)[0], types)
    return structs, functions


def fields(body, structs):
    """Of "const void *a, *b; int64_t n[4];" """
    for line in body.split(";"):
        if not line.strip():
            continue
        first, *others = line.split(",")
        base = re.match(r"\s*((?:const\s+|struct\s+)*\w+)", first)[1]
        for declaration in [first] + [f"{base} {other}" for other in others]:
            length = re.search(r"\[(\w+)\]\s*$", declaration.strip())
            kind, name = type_of(re.sub(r"\[\w+\]", "", declaration), structs)
            yield name, kind * int(length[1]) if length else kind


class Library:
    def __init__(self, path):
        self.library = ctypes.CDLL(str(path))
        self.structs, self.functions = read_header()
        for name, (result, arguments) in self.functions.items():
            function = getattr(self.library, name)
            function.restype, function.argtypes = result, arguments

    def has(self, name):
        return f"peft4j_cuda_{name}" in self.functions

    def __getattr__(self, name):
        function = getattr(self.library, f"peft4j_cuda_{name}")
        if function.restype is not ctypes.c_int:
            return function

        def call(*arguments):
            if function(*[ctypes.byref(a) if isinstance(a, ctypes.Structure) else a for a in arguments]) != 0:
                raise RuntimeError(f"{name}: {self.library.peft4j_cuda_last_error().decode()}")

        return call


if __name__ == "__main__":
    for name, (result, arguments) in read_header()[1].items():
        print(result.__name__, name, [a.__name__ for a in arguments])
