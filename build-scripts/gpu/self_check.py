"""
gpu-check.sh --self-check: what of gpu-check can be checked without card, compiler and PyTorch. The scripts parse, the
arithmetic is right, the header is read, a made-up run gives the table and verdicts that it must.
"""

import contextlib
import io
import json
import math
import pathlib
import re
import subprocess
import sys
import tempfile

import abi
import kernel_tests
import predict
import results
import table
import targets

HERE = pathlib.Path(__file__).resolve().parent


def scripts_parse():
    for script in HERE.glob("*.py"):
        compile(script.read_text(), script.name, "exec")
    for script in [HERE.parent / "gpu-check.sh", *HERE.glob("*.sh")]:
        subprocess.run(["bash", "-n", script], check=True)


def arithmetic():
    def brute(n, m, causal, window):
        return sum((not causal or j <= i + m - n) and (not window or abs(i + m - n - j) < window) for i in range(n) for j in range(m))

    for n, m, causal, window in [(5, 5, True, 0), (5, 9, True, 0), (5, 9, True, 3), (7, 7, False, 3), (3, 8, False, 0), (4, 0, True, 0)]:
        assert predict.seen_keys([n], [m], causal, 0, window) == brute(n, m, causal, window), (n, m, causal, window)
    assert predict.seen_keys([2, 3], [2, 3], True, prefix=4) == 3 + 6 + 4 * 5
    forward, both = (predict.total(predict.lora_linear(4096, 4096, 4096, 16, backward)) for backward in (False, True))
    assert forward[1] == 2 * 4096 * 4112 * 4096 and both[1] == 2 * forward[1]
    assert predict.total(predict.elements(10, 2, 1)) == (60, 0) and predict.total(predict.copy(8)) == (16, 0)
    assert math.isclose(predict.seconds(predict.copy(2.15e12), predict.H200), 1)
    ratios = {way: ratio for way, (_, _, ratio) in predict.linear_ratios(predict.Ceilings(4e12, 700e12)).items()}
    for way, ratio in [("eager bf16", 1.27), ("Hugging Face PEFT (fp32 adapters)", 1.72), ("all fused", 1.05), ("bordered", 1.08)]:
        assert abs(ratios[way] - ratio) < 0.005, (way, ratios[way])
    with contextlib.redirect_stdout(io.StringIO()):
        predict.print_tables(predict.H200)


def header():
    _, functions = abi.read_header()
    assert len(functions["peft4j_cuda_fixed_order_sum"][1]) == 6
    text = "typedef struct { const void *a, *b; int64_t n[4]; float scale; } s; PEFT4J_CUDA_API int peft4j_cuda_f(const s* p, float* y, uint64_t seed);"
    structs, functions = abi.read_header(text)
    assert [f[0] for f in structs["s"]._fields_] == ["a", "b", "n", "scale"] and structs["s"].scale.offset == 48
    assert len(functions["peft4j_cuda_f"][1]) == 3


def every_operation():
    """What native/ offers is checked on a card: its rows of the switch between providers are in torch.ops and in ops.py."""
    root = HERE.parent.parent
    names = re.findall(r'{Operation::k\w+,\s*"(\w+)"', (root / "native/providers.cpp").read_text())
    bound = re.findall(r'library\.def\("(\w+)"', (root / "cuda/bench/torch_ops.cpp").read_text())
    checked = re.findall(r"^def (\w+)\(quick\):", (HERE / "ops.py").read_text(), re.MULTILINE)
    assert "lora_linear" in names
    for where, there in (("cuda/bench/torch_ops.cpp", bound), ("build-scripts/gpu/ops.py", checked)):
        missing = sorted(set(names) - set(there))
        assert not missing, f"{where} lacks {', '.join(missing)} of native/providers.cpp"


def test_lines():
    output = "ok     one (0.01 s)\nFAILED two (1.50 s)\n       y: own 1, reference 2\nok     three (2.00 s)\n2 passed, 1 failed\n"
    found = kernel_tests.cases(output)
    assert [c["status"] for c in found] == ["ok", "failed", "ok"] and found[1]["problem"] == "y: own 1, reference 2"
    assert [len(g) for g in kernel_tests.grouped([{"name": n, "seconds": s} for n, s in [("a", 4), ("b", 1), ("c", 3)]])] == [2, 1]


def row(operation, contender, time, direction="forward + backward", case="a case", shape=None, **more):
    return {"group": operation, "operation": operation, "case": case, "direction": direction, "contender": contender, "microseconds": time,
            "shape": shape or {}, "share": 0.5, "repeats": 25, "bytes": 1, "operations": 1, "least_microseconds": time / 2} | more  # fmt: skip


def made_up_run():
    """Times that meet every target that can be met, except rational's backward."""
    rows = []
    for N, K in {(N, K) for _, N, K, _ in predict.LAYER_8B}:
        shape = {"N": N, "K": K, "T": 4096, "r": 16, "dropout": 0.1}
        for who, time in [("eager", 140), ("frozen alone", 100), ("PEFT", 190), ("peft4j library", 110), ("peft4j own", 105), ("peft4j own, sm_90a", 103)]:
            rows.append(row("lora_linear", who, time, case=f"{N} x {K}", shape=shape))
    for group in {g for _, _, _, g in predict.LAYER_8B}:
        for who, time in [("frozen alone", 100), ("peft4j library", 105)]:
            rows.append(row("lora_linear", who, time, "forward", group, {"tenants": 8, "group": group, "r": 16}))
    for who, time in [("SDPA flash", 120), ("SDPA cudnn", 100), ("peft4j library", 101), ("peft4j own", 150), ("peft4j own, sm_90a", 105)]:
        rows += [row("attention", who, time, way, case="fixed", shape={"kind": "fixed"}) for way in ("forward", "forward + backward")]
    rows += [row("attention", who, time, case="ragged", shape={"kind": "ragged"})
             for who, time in [("flash varlen", 50), ("peft4j library", 50), ("peft4j own, sm_90a", 30)]]  # fmt: skip
    for P in (4, 64):
        rows += [row("attention", who, time, case=f"prefix {P}", shape={"kind": "prefix", "P": P})
                 for who, time in [("padded, concatenated keys", 100), ("peft4j library", 50)]]  # fmt: skip
    for direction, time in [("forward", 105), ("backward", 300)]:
        rows += [row("rational", "copy", 100, direction), row("rational", "peft4j kernel", time, direction)]
    rows += [row("rms_norm", "copy", 100), row("rms_norm", "peft4j kernel", 110)]
    rows += [row("gelu", "copy", 100), row("gelu", "peft4j own", 110), row("gelu", "eager", 100, error="not here", microseconds=None)]
    rows += [row("token_losses", "eager", 200), row("token_losses", "peft4j own", 100, peak_bytes=0.5e9)]
    speed = {"rows": rows, "auto": {"lora_linear": "library", "attention": "library"}, "ceilings": vars(predict.H200)}
    facts = {"multiprocessors": 132, "memory_bytes": 1.5e11, "memcpy_rate": 4e12, "kernel_copy_rate": 4.1e12, "matrix_rate": 7.7e14}
    return {"card": "NVIDIA H200", "commit": "abc", "date": "2026-01-01", "facts": facts, "speed": speed,
            "tests": {"passed": 1, "failed": 1, "tests": [{"name": "broken", "status": "failed", "problem": "own 1, reference 2"}]},
            "memcheck": {"groups": [{"state": "not finished", "done": [], "tests": ["slow"]}]},
            "ops": {"device": "cuda", "right": {"gelu": 3}, "wrong": ["gelu, own: off"]}}  # fmt: skip


def the_table():
    data = made_up_run()
    verdicts = {}
    for target in targets.TARGETS:
        value = target.measured(targets.Rows(data["speed"]))
        verdicts[target.kernel] = verdicts.get(target.kernel, []) + [None if value is None else target.met(value)]
    assert verdicts["rational bwd"] == [False], verdicts
    open_ones = [k for k, v in verdicts.items() if v == [None]]
    assert not open_ones and all(v is not False for k, vs in verdicts.items() if k != "rational bwd" for v in vs), verdicts
    with tempfile.TemporaryDirectory() as folder:
        first, second = pathlib.Path(folder, "a.json"), pathlib.Path(folder, "b.json")
        results.save(first, data)
        results.put(first, "date", "2026-01-02")
        gelu_again = [row("gelu", "copy", 100), row("gelu", "peft4j own", 200)]
        second.write_text(json.dumps({"speed": data["speed"] | {"rows": gelu_again}}))
        text = "\n".join(table.lines(table.merged([first])))
        both = "\n".join(table.lines(table.merged([first, second])))
    for piece in ("NVIDIA H200", "2026-01-02", "1 passed, 1 failed", "FAILED broken: own 1, reference 2", "1 not finished", "gelu, own: off",
                  "×1.27 eager", "not here", "0.33× NOT MET", "peak 0.50 GB", "1.27× met"):  # fmt: skip
        assert piece in text, f"'{piece}' is not in the table:\n{text}"
    assert "200.0 µs" in both and "110.0 µs" in both and both.count("gelu: a case") == 1


def main():
    for check in (scripts_parse, arithmetic, header, every_operation, test_lines, the_table):
        check()
    print("gpu-check: scripts, arithmetic, header, operations and table are right")


if __name__ == "__main__":
    sys.exit(main())
