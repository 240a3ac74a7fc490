"""Drawings of boxes and arrows: a text block of a page becomes an SVG, which needs no script and no network.

A line ``a: what a holds | b: what b holds`` is a row of boxes. A line ``a -> b, c`` draws arrows. Rows stand from top
to bottom; an arrow leads from a box to one of the row below.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html import escape

BLOCK = re.compile(r"^<!-- drawing -->\n+```text\n(.*?)^```$", re.MULTILINE | re.DOTALL)
WIDTH, HEIGHT, GAP, MARGIN = 920, 58, 46, 16


@dataclass(frozen=True, slots=True)
class Drawing:
    """Rows of boxes and the arrows between them."""

    rows: list[list[tuple[str, str]]] = field(default_factory=list[list[tuple[str, str]]])
    """Name and caption of each box."""
    arrows: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])


def parse(text: str) -> Drawing:
    """Read a drawing.

    Raises:
        ValueError: An arrow leads from or to a box that is not drawn, or not to the row below.
    """
    drawing = Drawing()
    for line in filter(None, map(str.strip, text.splitlines())):
        if "->" in line:
            source, _, targets = line.partition("->")
            drawing.arrows.extend((source.strip(), target.strip()) for target in targets.split(","))
        else:
            boxes = [box.partition(":") for box in line.split("|")]
            drawing.rows.append([(name.strip(), caption.strip()) for name, _, caption in boxes])
    floors = {name: floor for floor, row in enumerate(drawing.rows) for name, _ in row}
    for source, target in drawing.arrows:
        if floors.get(target, -1) - floors.get(source, -1) != 1 or source not in floors:
            raise ValueError(f"the arrow {source} -> {target} does not lead to a box of the row below")
    return drawing


def svg(text: str) -> str:
    """Return a drawing as SVG in the colours of the page."""
    drawing = parse(text)
    places: dict[str, tuple[float, float, float]] = {}
    parts: list[str] = []
    for floor, row in enumerate(drawing.rows):
        width = (WIDTH - MARGIN * (len(row) - 1)) / len(row)
        y = floor * (HEIGHT + GAP) + 1
        for index, (name, caption) in enumerate(row):
            x = index * (width + MARGIN)
            places[name] = (x, y, width)
            middle = x + width / 2
            parts += [
                f'<rect x="{x + 1:.0f}" y="{y}" width="{width - 2:.0f}" height="{HEIGHT}" rx="6"/>',
                f'<text x="{middle:.0f}" y="{y + 24}" class="name">{escape(name)}</text>',
                f'<text x="{middle:.0f}" y="{y + 44}">{escape(caption)}</text>',
            ]
    for source, target in drawing.arrows:
        x1, y1 = _foot(drawing, places, source, target)
        x2, y2 = _head(drawing, places, source, target)
        parts.append(f'<path d="M{x1:.0f} {y1:.0f} L{x2:.0f} {y2 - 3:.0f}" marker-end="url(#drawing-head)"/>')
    height = len(drawing.rows) * (HEIGHT + GAP) - GAP + 2
    style = (
        ".drawing rect,.drawing path{fill:none;stroke:currentColor;stroke-width:1.2}"
        ".drawing text{fill:currentColor;font-size:13px;text-anchor:middle;font-family:sans-serif}"
        ".drawing .name{font-weight:bold;font-size:15px}.drawing marker path{fill:currentColor}"
    )
    return (
        f'<svg class="drawing" viewBox="0 0 {WIDTH} {height}" role="img" xmlns="http://www.w3.org/2000/svg">'
        f"<style>{style}</style>"
        '<defs><marker id="drawing-head" markerWidth="9" markerHeight="8" refX="7" refY="4" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z"/></marker></defs>' + "".join(parts) + "</svg>"
    )


def _foot(
    drawing: Drawing, places: dict[str, tuple[float, float, float]], source: str, target: str
) -> tuple[float, float]:
    """Return where an arrow leaves its box: arrows of one box stand side by side, in the order of their ends."""
    ends = sorted((end for start, end in drawing.arrows if start == source), key=lambda end: places[end][0])
    x, y, width = places[source]
    return x + width * (ends.index(target) + 1) / (len(ends) + 1), y + HEIGHT


def _head(
    drawing: Drawing, places: dict[str, tuple[float, float, float]], source: str, target: str
) -> tuple[float, float]:
    """Return where an arrow reaches its box, in the order of the boxes above."""
    starts = sorted(
        (start for start, end in drawing.arrows if end == target), key=lambda start: places[start][0]
    )
    x, y, width = places[target]
    return x + width * (starts.index(source) + 1) / (len(starts) + 1), y
