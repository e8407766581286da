"""Small SVG pictures, drawn by hand: no library, readable in light and dark."""

from datetime import date

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2933 }
  .title { font-size: 19px; font-weight: 650 }
  .quiet { fill: #6b7785 }
  .page { fill: #fffdf8 }
  .rule { stroke: #d9d4c7 }
  .line { fill: none; stroke-width: 2; stroke-linejoin: round; stroke-linecap: round }
  .up { fill: #1a7f5a } .down { fill: #b5452c }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6e2d8 } .quiet { fill: #9a9fa8 } .page { fill: #1b1e23 } .rule { stroke: #3a3f47 }
    .up { fill: #5fd0a3 } .down { fill: #f08a6d }
  }
"""
COLOURS = ("#c0712f", "#3f7cac", "#7a9e3a", "#8e5ea2", "#d1495b")


def regions(stats: list[dict], days: list[date]) -> str:
    """One line a region, as in a score: the last fourteen days, the week's sum and its change."""
    width, row, top = 760, 84, 84
    height = top + row * len(stats) + 34
    left, right = 110, 560
    # All regions share one scale, so heights can be compared.
    ceiling = max((value for entry in stats for value in entry["daily"]), default=0) or 1

    def x(index: int) -> float:
        return left + (right - left) * index / max(1, len(days) - 1)

    parts = [
        text(28, 40, "Revenue by region", "title"),
        text(28, 62, f"{days[0]:%d %b} – {days[-1]:%d %B %Y}, a day at a time; weekends shaded", "quiet"),
        text(732, 62, "last 7 days", "quiet", "end"),
    ]
    step = (right - left) / max(1, len(days) - 1)
    for index, day in enumerate(days):
        if day.weekday() >= 5:
            start, end = max(left, x(index) - step / 2), min(right, x(index) + step / 2)
            parts.append(f'<rect x="{start:.1f}" y="{top}" width="{end - start:.1f}" height="{row * len(stats)}" fill="#c9b27c" opacity=".14"/>')
    for number, entry in enumerate(stats):
        colour = COLOURS[number % len(COLOURS)]
        floor = top + row * (number + 1) - 12
        points = [(x(index), floor - (row - 22) * value / ceiling) for index, value in enumerate(entry["daily"])]
        path = " L".join(f"{px:.1f},{py:.1f}" for px, py in points)
        arrow, tone = ("▲", "up") if entry["change"] >= 0 else ("▼", "down")
        parts += [
            f'<line class="rule" x1="28" x2="732" y1="{floor}" y2="{floor}"/>',
            f'<path d="M{left},{floor} L{path} L{points[-1][0]:.1f},{floor} Z" fill="{colour}" opacity=".18"/>',
            f'<path class="line" d="M{path}" stroke="{colour}"/>',
            f'<circle cx="{points[-1][0]:.1f}" cy="{points[-1][1]:.1f}" r="4" fill="{colour}"/>',
            text(28, floor - 10, entry["region"]),
            text(650, floor - 10, f"{entry['week']:,.0f} €", anchor="end"),
            text(732, floor - 10, f"{arrow} {abs(entry['change']):.0%}", tone, "end"),
        ]
    parts.append(text(28, height - 14, "Coda Coffee · the highest day of all regions sets the scale", "quiet"))
    return page(width, height, "Revenue by region", parts)


def heatmap(title: str, across: list[str], down: list[str], cells: dict[tuple[str, str], float]) -> str:
    """A table of figures in which the better ones are darker; the best has a frame. Keys are (down, across)."""
    cell_width, cell_height, left, top = 110, 54, 130, 96
    width, height = left + cell_width * len(across) + 28, top + cell_height * len(down) + 28
    low, high = min(cells.values()), max(cells.values())
    best = max(cells, key=lambda key: cells[key])
    parts = [text(28, 40, title, "title")]
    parts += [text(left + cell_width * (i + 0.5), top - 10, name, "quiet", "middle") for i, name in enumerate(across)]
    for j, row_name in enumerate(down):
        y = top + cell_height * j
        parts.append(text(left - 12, y + 32, row_name, "quiet", "end"))
        for i, name in enumerate(across):
            value = cells.get((row_name, name))
            if value is None:
                continue
            strength = 0.12 + 0.7 * ((value - low) / (high - low) if high > low else 1)
            frame = ' stroke="#c0712f" stroke-width="3"' if (row_name, name) == best else ""
            x = left + cell_width * i
            parts.append(f'<rect x="{x + 3}" y="{y + 3}" width="{cell_width - 6}" height="{cell_height - 6}" rx="6" fill="#3f7cac" fill-opacity="{strength:.2f}"{frame}/>')
            parts.append(text(x + cell_width / 2, y + 32, f"{value:.4f}", anchor="middle"))
    return page(width, height, title, parts)


def curve(title: str, values: list[float], marks: list[int]) -> str:
    """A falling (one hopes) line, with a mark at each index where the work had to be taken up again."""
    width, height, left, top, right, floor = 560, 280, 60, 70, 532, 240
    low, high = min(values), max(values)

    def at(index: int) -> tuple[float, float]:
        share = (values[index] - low) / (high - low) if high > low else 0.5
        return left + (right - left) * index / max(1, len(values) - 1), floor - (floor - top) * share

    points = " L".join("{:.1f},{:.1f}".format(*at(index)) for index in range(len(values)))
    parts = [
        text(28, 40, title, "title"),
        f'<line class="rule" x1="{left}" x2="{right}" y1="{floor}" y2="{floor}"/>',
        f'<path class="line" d="M{points}" stroke="#3f7cac"/>',
        text(left - 8, top + 4, f"{high:.3f}", "quiet", "end"),
        text(left - 8, floor + 4, f"{low:.3f}", "quiet", "end"),
        text(right, floor + 22, f"epoch {len(values)}", "quiet", "end"),
    ]
    for index in marks:
        x, y = at(index)
        parts += [
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="#d1495b"/>',
            text(x + 10, y - 10, "taken up again here", "down"),
        ]
    return page(width, height, title, parts)


def page(width: int, height: int, title: str, parts: list[str]) -> str:
    inside = "\n".join(f"  {part}" for part in parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" role="img">\n'
        f"  <title>{title}</title>\n  <style>{STYLE}  </style>\n"
        f'  <rect class="page" width="{width}" height="{height}" rx="10"/>\n{inside}\n</svg>\n'
    )


def text(x: float, y: float, words: str, kind: str = "", anchor: str = "start") -> str:
    words = words.replace("&", "&amp;").replace("<", "&lt;")
    return f'<text x="{x:g}" y="{y:g}" class="{kind}" text-anchor="{anchor}">{words}</text>'
