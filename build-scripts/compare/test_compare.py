"""Tests of what compare-methods.sh writes, and of its table: python3 build-scripts/compare/test_compare.py."""

import contextlib
import io
import json
import random
import re
import sys
import tempfile
import unittest
import xml.etree.ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import chart
import report
import run


def result(name, seed, accuracy, trained, data="mails", **other):
    return {
        "data": data, "name": name, "method": name, "seed": seed, "budget": 1000, "steps": 3, "tokens": 990,
        "accuracy": accuracy, "macro_f1": accuracy, "loss": 0.1, "perplexity": 12.345, "test_rows": 80, "trained": trained,
        "model_parameters": 1_000_000, "head": 100 if data == "mails" else 0, "peak_resident_mb": 500.4, "file_bytes": 12_345,
        "train_seconds": 1, "seconds": 2, "machine": {"processor": "P", "threads": 2, "memory_bytes": 1, "os": "L"},
        "compute": "CPU", "versions": {"peft4j": "1"}, "commit": "abc", "date": "2026-01-02", "run": "", **other}


SPEEDS = {"mails": {
    "rows": {"lora": {"ratio": 1.0, "ratio_min": 1.0, "ratio_max": 1.0, "peak_ratio": 1.0, "trained": 1100},
             "oft": {"ratio": 0.951, "ratio_min": 0.9, "ratio_max": 0.99, "peak_ratio": 1.23, "trained": 300}},
    "rounds": 3, "steps": 3, "commit": "abc", "machine": {"threads": 2}}}

RESULTS = [
    result("lora", 0, 0.9, 1100), result("lora", 1, 0.92, 1100), result("oft", 0, 0.89, 300),
    result("lora", 0, None, 500, data="shakespeare")]


class Report(unittest.TestCase):
    def written(self, results=RESULTS, speeds=SPEEDS):
        with tempfile.TemporaryDirectory() as folder:
            readme = Path(folder, "README.md")
            readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
            report.check(readme)
            report.write(results, speeds, {("mails", "cpt"): "why"}, ["mails:dora"], readme, Path(folder, "docs"))
            texts = [Path(folder, "docs", f"methods-comparison.{end}").read_text() for end in ("json", "svg")]
            self.assertEqual(
                sorted(path.name for path in Path(folder).rglob("*.*")),
                ["README.md", "methods-comparison.json", "methods-comparison.svg"])
            return readme.read_text(), *texts

    def test_rows(self):
        text, document, _ = self.written()
        self.assertTrue(text.startswith(f"before\n{report.BEGIN}\n") and text.endswith(f"{report.END}\nafter\n"))
        self.assertNotIn("old", text)
        self.assertIn("| `lora` | 1,000 | 0.10% | 0.9100 ± 0.0141 | 1.00 | 1.00 | 500 MB | 12 kB |", text)
        self.assertIn("| `oft` | 200 | 0.020% | 0.8900 | 0.95 (0.90 to 0.99) | 1.23 | 500 MB | 12 kB |", text)
        self.assertIn("| `lora` | 500 | 0.050% | 12.35 |  |  | 500 MB | 12 kB |", text)
        for part in ("head's 100 numbers", "2 seeds of `lora`", "abc", "2026-01-02", "budget was 1,000", "P, 2 threads",
                     "`cpt` (mails): why", "`mails:dora`", "rounds (3) of 3 steps"):
            self.assertIn(part, text)
        self.assertEqual(len(json.loads(document)["results"]), 4)

    def test_what_is_slow_has_its_reason(self):
        def told(name):
            speeds = {"mails": {**SPEEDS["mails"], "rows": {**SPEEDS["mails"]["rows"], name: {
                "ratio": 0.89, "ratio_min": 0.8, "ratio_max": 0.9, "peak_ratio": 1, "trained": 300}}}}
            return self.written([*RESULTS, result(name, 0, 0.9, 300)], speeds)[0]

        self.assertNotIn("Slower than", self.written()[0])
        self.assertIn("Slower than 0.9 of LoRA: `full` (every weight has its gradient", told("full"))
        self.assertIn("`bitfit` (nothing that they compute says why).", told("bitfit"))

    def test_reasons_are_of_methods_that_are_compared(self):
        text = (report.HERE / "methods.txt").read_text("utf-8")
        for name in report.arithmetic():
            self.assertRegex(text, rf"(?m)^\w+ \| {re.escape(name)} \|")

    def test_written_again_is_the_same(self):
        self.assertEqual(self.written(), self.written())

    def test_speed_of_other_settings_is_refused(self):
        with self.assertRaisesRegex(SystemExit, "mails:oft trains 301"):
            self.written([result("lora", 0, 0.9, 1100), result("oft", 0, 0.9, 301)])

    def test_readme_without_marks_is_refused(self):
        with tempfile.TemporaryDirectory() as folder:
            readme = Path(folder, "README.md")
            for text in ("", report.BEGIN, f"{report.END}{report.BEGIN}", f"{report.BEGIN}{report.BEGIN}{report.END}"):
                readme.write_text(text)
                self.assertRaises(SystemExit, report.check, readme)


class Chart(unittest.TestCase):
    def panel(self, count):
        draws = random.Random(1)
        return chart.Panel("title <&>", "accuracy", [chart.Point("head", 0, 0.8)] + [
            chart.Point(f"method-{i}", int(10 ** draws.uniform(3.5, 6)), draws.uniform(0.9, 0.95), 0.004 if i < 3 else None)
            for i in range(count)])

    def test_labels_do_not_overlap(self):
        panel = self.panel(45)
        tree = xml.etree.ElementTree.fromstring(chart.svg([panel]))
        self.assertEqual(len(panel.boxes), 46)
        self.assertEqual(sum(chart.overlap(a, b) for i, a in enumerate(panel.boxes) for b in panel.boxes[:i]), 0)
        self.assertEqual(len(tree.findall(".//{*}circle")), 45)
        self.assertIn("prefers-color-scheme: dark", chart.svg([panel]))

    def test_few_points(self):
        for points in ([], [chart.Point("a", 10, 0.5)], [chart.Point("a", 0, 0.5)], [chart.Point("a", 1000, 0.5)] * 2):
            if points:
                xml.etree.ElementTree.fromstring(chart.svg([chart.Panel("t", "accuracy", points)]))

    def test_ticks_hold_all(self):
        for low, high in ((0.9, 0.95), (3, 140), (0.5, 0.5), (0.7125, 0.9475)):
            marks = chart.ticks(low, high)
            self.assertLessEqual(marks[0], low + 1e-9)
            self.assertGreaterEqual(marks[-1], high - 1e-9)
            self.assertLessEqual(len(marks), 12)


class Table(unittest.TestCase):
    def test_the_table_is_read(self):
        lines, reasons = run.read_table(Path(run.HERE, "methods.txt").read_text("utf-8"))
        seeds = {(line.data, line.name): line.seeds for line in lines}
        for name in ("iapt", "dept", "ept", "lora"):
            self.assertEqual((seeds["mails", name], seeds["shakespeare", name]), (3, 3))
        self.assertIn(("mails", "cpt"), reasons)
        xlora = next(line for line in lines if line.name == "xlora")
        self.assertEqual(xlora.needs, [("lora", 0), ("lora", 1)])
        for line in lines:
            for name, seed in line.needs:
                self.assertLess(seed, seeds[line.data, name])
            text = line.run_file(run.DATA[line.data], "m", 7, 1)
            self.assertIn("max_steps: 7", text)
            self.assertEqual(text.count("{"), text.count("}"))

    def test_wrong_lines_are_refused(self):
        for text in ("mails | a", "letters | a | 1 | adamw 1 | {type: a}", "mails | a | x | adamw 1 | {type: a}",
                     "mails | a | 1 | adamw | {type: a}", "mails | a | 1 | adamw 1 | {}",
                     "mails | a | - | why\nmails | a | - | why"):
            with contextlib.redirect_stderr(io.StringIO()):
                self.assertRaises(SystemExit, run.read_table, text)


if __name__ == "__main__":
    unittest.main()
