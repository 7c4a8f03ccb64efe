"""A chart of scores against trained parameters (logarithmic), in SVG, readable on light and dark pages."""

import math
from dataclasses import dataclass, field
from xml.sax.saxutils import escape

WIDTH, HEIGHT = 1000, 560
LEFT, RIGHT, TOP, BOTTOM = 74, 30, 46, 56
LETTER, LINE = 6.4, 13  # size of a label's letters: 11 px

STYLE = """
  text { font: 11px system-ui, "Segoe UI", Helvetica, Arial, sans-serif; fill: #24292f }
  .title { font-size: 15px; font-weight: 600 }
  .small { fill: #57606a }
  .page { fill: #ffffff }
  .grid { stroke: #d8dee4; stroke-width: 1 }
  .axis { stroke: #8c959f; stroke-width: 1 }
  .lead { stroke: #8c959f; stroke-width: 0.8 }
  .error { stroke: #0969da; stroke-width: 1.4 }
  .dot { fill: #0969da; stroke: #ffffff; stroke-width: 1 }
  .main { fill: #cf222e }
  .base { stroke: #57606a; stroke-width: 1; stroke-dasharray: 5 4 }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3 }
    .small { fill: #9198a1 }
    .page { fill: #0d1117 }
    .grid { stroke: #262c36 }
    .axis, .lead { stroke: #656c76 }
    .error { stroke: #58a6ff }
    .dot { fill: #58a6ff; stroke: #0d1117 }
    .main { fill: #ff7b72 }
    .base { stroke: #9198a1 }
  }
"""


@dataclass
class Point:
    """A method; without trained parameters it is a line across the chart."""

    name: str
    trained: int
    score: float
    deviation: float | None = None
    seeds: int = 1


@dataclass
class Panel:
    title: str
    score: str
    points: list[Point]
    score_is_better_low: bool = False
    boxes: list = field(default_factory=list)


def svg(panels):
    height = HEIGHT * len(panels)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" role="img">',
        f"<title>{escape('; '.join(f'{p.title}: {p.score} against trained parameters' for p in panels))}</title>",
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}"/>']
    for number, panel in enumerate(panels):
        parts.append(f'<g transform="translate(0 {number * HEIGHT})">')
        parts += drawn(panel)
        parts.append("</g>")
    return "\n".join(parts) + "\n</svg>\n"


def ticks(low, high, most=8):
    """Round numbers from below low to above high."""
    raw = (high - low) / most or 1e-3
    power = 10 ** math.floor(math.log10(raw))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= raw)
    first = math.floor(low / step + 1e-9)
    last = math.ceil(high / step - 1e-9)
    return [i * step for i in range(first, max(last, first + 1) + 1)]


def power_of_ten(exponent):
    return {3: "1,000", 4: "10,000", 5: "100,000", 6: "1 million", 7: "10 million", 8: "100 million"}.get(
        exponent, f"{10 ** exponent:,}")


def drawn(panel):
    points = sorted((p for p in panel.points if p.trained > 0), key=lambda p: -p.score)
    lines = [p for p in panel.points if p.trained <= 0]
    spread = [p.score + sign * (p.deviation or 0) for p in panel.points for sign in (-1, 1)]
    marks = ticks(min(spread), max(spread))
    if panel.score != "accuracy":
        marks = [m for m in marks if m >= 0]
    low, high = marks[0], marks[-1]
    most, least = (max(f(math.log10(p.trained)) for p in points) if points else d for f, d in ((math.ceil, 6), (math.floor, 3)))
    least = min(math.floor(math.log10(p.trained)) for p in points) if points else 3
    most = max(most, least + 1)

    def x(trained):
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(trained) - least) / (most - least)

    def y(score):
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * (score - low) / (high - low)

    parts = [f'<text class="title" x="{LEFT}" y="24">{escape(panel.title)}</text>']
    digits = max(0, -math.floor(math.log10(marks[1] - marks[0]) + 1e-9)) + (
        1 if round((marks[1] - marks[0]) / 10 ** math.floor(math.log10(marks[1] - marks[0]) + 1e-9), 6) == 2.5 else 0)
    for mark in marks:
        parts.append(f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{y(mark):.1f}" y2="{y(mark):.1f}"/>')
        parts.append(f'<text class="small" text-anchor="end" x="{LEFT - 8}" y="{y(mark) + 4:.1f}">{mark:.{digits}f}</text>')
    for exponent in range(least, most + 1):
        at = x(10**exponent)
        parts.append(f'<line class="grid" x1="{at:.1f}" x2="{at:.1f}" y1="{TOP}" y2="{HEIGHT - BOTTOM}"/>')
        parts.append(
            f'<text class="small" text-anchor="middle" x="{at:.1f}" y="{HEIGHT - BOTTOM + 18}">{power_of_ten(exponent)}</text>')
    parts.append(f'<line class="axis" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{HEIGHT - BOTTOM}" y2="{HEIGHT - BOTTOM}"/>')
    parts.append(
        f'<text x="{(LEFT + WIDTH - RIGHT) / 2}" y="{HEIGHT - 16}" text-anchor="middle">trained parameters</text>')
    better = ", lower is better" if panel.score_is_better_low else ""
    parts.append(
        f'<text transform="translate(18 {(TOP + HEIGHT - BOTTOM) / 2}) rotate(-90)" text-anchor="middle">'
        f"{escape(panel.score + better)}</text>")

    taken = [(x(p.trained) - 5, y(p.score) - 5, x(p.trained) + 5, y(p.score) + 5) for p in points]
    panel.boxes.clear()
    for line in lines:
        at = y(line.score)
        parts.append(f'<line class="base" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{at:.1f}" y2="{at:.1f}"/>')
        width = LETTER * len(line.name)
        box = (LEFT + 4, at - LINE - 1, LEFT + 4 + width, at - 1)
        taken.append(box)
        panel.boxes.append(box)
        parts.append(f'<text class="small" x="{box[0]:.1f}" y="{at - 4:.1f}">{escape(line.name)}</text>')
    dots, labels = [], []
    for point in points:
        px, py = x(point.trained), y(point.score)
        if point.deviation:
            parts.append(
                f'<line class="error" x1="{px:.1f}" x2="{px:.1f}" y1="{y(point.score - point.deviation):.1f}"'
                f' y2="{y(point.score + point.deviation):.1f}"/>')
        box, far = place(px, py, LETTER * len(point.name), taken)
        taken.append(box)
        panel.boxes.append(box)
        if far:
            end = (min(max(px, box[0]), box[2]), min(max(py, box[1]), box[3]))
            parts.append(f'<line class="lead" x1="{px:.1f}" y1="{py:.1f}" x2="{end[0]:.1f}" y2="{end[1]:.1f}"/>')
        kind = "dot main" if point.name == "lora" else "dot"
        told = f"{point.name}: {point.score:.4g}, {point.trained:,} parameters"
        dots.append(f'<circle class="{kind}" cx="{px:.1f}" cy="{py:.1f}" r="4"><title>{escape(told)}</title></circle>')
        labels.append(f'<text x="{box[0]:.1f}" y="{box[3] - 3:.1f}">{escape(point.name)}</text>')
    return parts + dots + labels


def place(px, py, width, taken):
    """Where a label stands: beside its dot, else the nearest free place around it, else where it covers least."""
    best, least = None, math.inf
    for distance in (8, 16, 26, 38, 52, 68, 86, 106, 130, 160):
        for angle in (0, 180, 315, 45, 225, 135, 270, 90, 340, 20, 200, 160, 290, 70, 250, 110):
            dx, dy = math.cos(math.radians(angle)), math.sin(math.radians(angle))
            cx, cy = px + dx * (distance + width / 2 * abs(dx)), py + dy * (distance + LINE / 2 * abs(dy))
            if abs(dx) < 0.99 and abs(dx) > 0.01:
                cx = px + dx * distance + math.copysign(width / 2, dx)
            box = (cx - width / 2, cy - LINE / 2, cx + width / 2, cy + LINE / 2)
            if box[0] < LEFT + 2 or box[2] > WIDTH - 4 or box[1] < TOP - 12 or box[3] > HEIGHT - BOTTOM - 2:
                continue
            covered = sum(overlap(box, other) for other in taken)
            if covered == 0:
                return box, distance > 8
            if covered < least:
                best, least = box, covered
    return best or (px, py, px + width, py + LINE), True


def overlap(a, b):
    return max(0, min(a[2], b[2]) - max(a[0], b[0])) * max(0, min(a[3], b[3]) - max(a[1], b[1]))
