"""
cuda/peft4j_cuda.h for ctypes: the header itself is read, so that what is called here is what it declares.

    cuda = abi.Library(path)
    cuda.fixed_order_sum(out, partials, n, splits, 0, stream)     raises the library's message where the status is not 0
    p = cuda.structs["peft4j_cuda_gemm"](t=4096, …)             a struct's fields; it is passed as it is, by reference
"""

import ctypes
import pathlib
import re

HEADER = pathlib.Path(__file__).resolve().parents[2] / "cuda/peft4j_cuda.h"
NUMBERS = {
    "char": ctypes.c_char,
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
    base, name = words[0], words[-1]
    if "*" not in words:
        return NUMBERS.get(base) or structs[base], name
    return (ctypes.POINTER(structs[base]) if base in structs else ctypes.c_void_p), name


def fields(body, structs, constants):
    """Of "const void *a, *b; int64_t n[4];" """
    for line in filter(str.strip, body.split(";")):
        first, *others = line.split(",")
        base = re.match(r"\s*(?:(?:const|struct)\s+)*\w+", first)[0]
        for declaration in [first] + [f"{base} {other}" for other in others]:
            length = re.search(r"\[(\w+)\]\s*$", declaration)
            kind, name = type_of(re.sub(r"\[\w+\]", "", declaration), structs)
            yield name, kind * int(constants.get(length[1], length[1])) if length else kind


def read_header(text=None):
    """({name: struct}, {function: (result, [argument types])})"""
    text = re.sub(r"/\*.*?\*/|//[^\n]*", " ", text or HEADER.read_text(), flags=re.S)
    constants = dict(re.findall(r"^#define (\w+) (\d+)", text, flags=re.M))
    text = re.sub(r"^#.*$", " ", text, flags=re.M)
    structs, functions = {}, {}
    for before, body, after in re.findall(r"\bstruct\s*(\w*)\s*\{(.*?)\}\s*(\w*)\s*;", text, flags=re.S):
        name = after or before
        structs[name] = type(name, (ctypes.Structure,), {"_fields_": list(fields(body, structs, constants))})
    declarations = re.findall(r"PEFT4J_CUDA_API\s+([\w\s*]+?)\s*\b(peft4j_cuda_\w+)\s*\((.*?)\)\s*;", text, flags=re.S)
    for result, name, arguments in declarations:
        types = [type_of(a, structs)[0] for a in arguments.split(",") if a.strip() != "void"]
        functions[name] = (ctypes.c_char_p if "char" in result else type_of(f"{result} _", structs)[0], types)
    return structs, functions


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

        def call(*arguments):
            answer = function(*[ctypes.byref(a) if isinstance(a, ctypes.Structure) else a for a in arguments])
            if function.restype is ctypes.c_int and answer != 0:
                raise RuntimeError(f"{name}: {self.library.peft4j_cuda_last_error().decode()}")
            return answer

        return call
