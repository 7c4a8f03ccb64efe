"""What compare-methods.sh writes of its results: a table in Markdown, JSON, a chart. No number in them is typed by hand."""

import json
import math
import os
import statistics
from pathlib import Path

import chart

HERE = Path(__file__).resolve().parent
BEGIN = "<!-- compare-methods:begin -->"
END = "<!-- compare-methods:end -->"
FORM = "DATA | NAME | SEEDS | OPTIMISER RATE | {type: METHOD, …} [| {…}], or DATA | NAME | - | REASON"

TITLES = {"mails": "Mails, all-MiniLM-L6-v2", "shakespeare": "Shakespeare, stories260k"}
SCORES = {"mails": ("accuracy", "accuracy", 4), "shakespeare": ("perplexity", "test perplexity", 2)}
SLOW = 0.9
ROWS = {"mails": "mails", "shakespeare": "pieces of plays"}


def check(readme):
    """Refuses a README without the places that are written to, before hours of work."""
    text = readme.read_text("utf-8") if readme.exists() else ""
    if text.count(BEGIN) != 1 or text.count(END) != 1 or text.index(BEGIN) > text.index(END):
        raise SystemExit(f"compare-methods.sh: {readme} must have {BEGIN} and behind it {END}, each once")


def grouped(results, speeds):
    """A row for each method of a data set: means over its seeds."""
    rows = {}
    for result in results:
        rows.setdefault((result["data"], result["name"]), []).append(result)
    head = {
        data: statistics.mode(r["head"] for r in results if r["data"] == data) for data in dict.fromkeys(r["data"] for r in results)}
    table = []
    for (data, name), many in rows.items():
        score = SCORES[data][0]
        first = many[0]
        speed = speeds.get(data, {}).get("rows", {}).get(name)
        if speed and speed["trained"] != first["trained"]:  # a run of other settings would be told beside these results
            raise SystemExit(
                f"compare-methods.sh: {data}:{name} trains {first['trained']:,} numbers, but `bench methods` measured the"
                f" speed of {speed['trained']:,}: LoRA's line must be what `bench methods` takes for LoRA")
        own = first["trained"] - head[data]
        table.append({
            "data": data, "name": name, "method": first["method"], "seeds": [r["seed"] for r in many],
            "trained": own, "share": own / first["model_parameters"], "head": head[data],
            score: statistics.fmean(r[score] for r in many),
            "deviation": statistics.stdev(r[score] for r in many) if len(many) > 1 else None,
            "speed": speed["ratio"] if speed else None,
            "speed_min": speed["ratio_min"] if speed else None,
            "speed_max": speed["ratio_max"] if speed else None,
            "peak_resident_mb": max(r["peak_resident_mb"] for r in many),
            "step_memory": speed["peak_ratio"] if speed else None,
            "file_bytes": first["file_bytes"],
        })
    return table


def markdown(table, results, speeds, reasons, without):
    parts = []
    for data in SCORES:
        rows = [row for row in table if row["data"] == data]
        if rows:
            parts.append(section(data, rows, [r for r in results if r["data"] == data], speeds.get(data)))
    missing = [f"`{name}` ({data}): {reason}" for (data, name), reason in reasons.items()]
    if missing:
        parts.append("Not there: " + "; ".join(missing) + ".")
    if without:
        parts.append("Without a result yet: " + ", ".join(f"`{name}`" for name in without) + ".")
    return "\n\n".join(parts)


def section(data, rows, results, speed):
    score, title, digits = SCORES[data]
    lines = [
        f"**{TITLES[data]}**", "",
        f"| method | trained | share | {title} | tokens/s, LoRA's = 1 | a step's memory, LoRA's = 1 | peak resident | file |",
        "|---|---|---|---|---|---|---|---|"]
    for row in rows:
        spread = "" if row["deviation"] is None else f" ± {row['deviation']:.{digits}f}"
        by_turns = "" if row["speed"] is None else f"{row['speed']:.2f}" + (
            "" if row["name"] == "lora" else f" ({row['speed_min']:.2f} to {row['speed_max']:.2f})")
        memory = "" if row["step_memory"] is None else f"{row['step_memory']:.2f}"
        lines.append(
            f"| `{row['name']}` | {row['trained']:,} | {percent(row['share'])} | {row[score]:.{digits}f}{spread} | {by_turns} |"
            f" {memory} | {row['peak_resident_mb']:,.0f} MB | {size(row['file_bytes'])} |")
    return "\n".join(lines) + "\n\n" + conditions(data, rows, results, speed)


def conditions(data, rows, results, speed):
    """Under the table: what was done, where, when."""
    head = rows[0]["head"]
    first = results[0]
    tokens = sorted({r["tokens"] for r in results})
    several = [row for row in rows if len(row["seeds"]) > 1]
    machines = sorted({f"{r['machine']['processor']}, {r['machine']['threads']} threads, {r['compute']}" for r in results})
    text = [
        f"Each method and seed was trained on {span(tokens)} tokens ({first['steps']:,} steps; the budget was {first['budget']:,}) and"
        f" scored on the {first['test_rows']:,} {ROWS[data]} of the test split."]
    if head:
        text.append(f"Beside what a method trains, all train the head's {head:,} numbers, which are not counted but are in the files.")
    if several:
        text.append(
            "Mean and standard deviation of " + ", ".join(f"{len(row['seeds'])} seeds of `{row['name']}`" for row in several)
            + "; one seed of the others." if len(several) < len(rows) else
            f"Mean and standard deviation of {span(sorted({len(row['seeds']) for row in rows}))} seeds each.")
    if speed:
        text.append(
            f"Speed and memory of a step: `bench methods`, median and extremes of the rounds ({speed['rounds']}) of {speed['steps']} steps by"
            f" turns with LoRA, on {speed['machine']['threads']} threads at commit {speed['commit']}.")
    slow = [row["name"] for row in rows if row["speed"] is not None and row["speed"] < SLOW]
    if slow:
        text.append(slower(slow))
    text.append(
        f"{'; '.join(machines)}; commit {', '.join(sorted({r['commit'] for r in results}))};"
        f" {' to '.join(dict.fromkeys([min(r['date'] for r in results), max(r['date'] for r in results)]))}.")
    return " ".join(text)


def slower(names):
    """Why methods are slower than LoRA, as far as their arithmetic says so."""
    why = arithmetic()
    by_reason = {}
    for name in names:
        by_reason.setdefault("; ".join(why.get(name, ["nothing that they compute says why"])), []).append(f"`{name}`")
    return f"Slower than {SLOW} of LoRA: " + "; ".join(
        f"{', '.join(some)} ({reason})" for reason, some in by_reason.items()) + "."


def arithmetic():
    """What methods compute that LoRA does not, by name: arithmetic.txt."""
    why = {}
    for line in (HERE / "arithmetic.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            names, reason = line.split(" | ")
            for name in names.split(", "):
                why.setdefault(name, []).append(reason)
    return why


def span(numbers):
    return f"{numbers[0]:,}" if len(numbers) == 1 else f"{numbers[0]:,} to {numbers[-1]:,}"


def percent(share):
    """Two digits that count."""
    if share <= 0:
        return "0"
    return f"{100 * share:.{max(0, 1 - math.floor(math.log10(100 * share)))}f}%"


def size(count):
    for unit in ("B", "kB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:,.1f} MB"


def write(results, speeds, reasons, without, readme, docs):
    """Writes all three; the table between its marks."""
    table = grouped(results, speeds)
    text = readme.read_text("utf-8")
    before, rest = text.split(BEGIN)
    after = rest.split(END)[1]
    put(readme, f"{before}{BEGIN}\n{markdown(table, results, speeds, reasons, without)}\n{END}{after}")
    docs.mkdir(parents=True, exist_ok=True)
    shown = [{key: value for key, value in result.items() if key != "versions"} for result in results]
    put(docs / "methods-comparison.json", document({
        "rows": table, "results": shown, "speeds": speeds,
        "not_there": [{"data": data, "name": name, "reason": reason} for (data, name), reason in reasons.items()],
        "versions": results[-1]["versions"]}))
    put(docs / "methods-comparison.svg", chart.svg([
        chart.Panel(
            TITLES[data], SCORES[data][1], score_is_better_low=data == "shakespeare",
            points=[
                chart.Point(row["name"], row["trained"], row[SCORES[data][0]], row["deviation"], len(row["seeds"]))
                for row in table if row["data"] == data])
        for data in SCORES if any(row["data"] == data for row in table)]))


def document(value):
    """JSON with a line for each row of a list, so that a change is seen where it is."""
    parts = []
    for key, part in value.items():
        if isinstance(part, list):
            rows = ",\n".join("  " + json.dumps(row, ensure_ascii=False) for row in part)
            parts.append(f" {json.dumps(key)}: [\n{rows}\n ]" if part else f" {json.dumps(key)}: []")
        else:
            parts.append(f" {json.dumps(key)}: {json.dumps(part, ensure_ascii=False)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def put(path, text):
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text, encoding="utf-8")
    os.replace(partial, path)
