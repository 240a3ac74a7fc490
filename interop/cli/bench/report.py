"""What ``interop bench`` shows: a table, and a picture of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.markup import escape
from rich.table import Table

from interop.cli.bench._measure import Row, size_text
from interop.protocols import Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

_MANY = 100
"""From here on figures are shown without decimals."""


def tables(rows: Sequence[Row]) -> Iterator[Table]:
    """Make a table of each measure's rows."""
    for name in dict.fromkeys(row.measure for row in rows if row.measure != "environment"):
        yield _table(name, [row for row in rows if row.measure == name])


def _table(name: str, rows: Sequence[Row]) -> Table:
    made = Table(title=name, title_justify="left", header_style="bold")
    for title in ("consumer", "sync", "with", "value", "p99", "held against", "ratio"):
        if title in ("held against", "with"):
            made.add_column(title, overflow="fold")
        else:
            made.add_column(
                title, justify="right" if title in ("value", "p99", "ratio") else "left", no_wrap=True
            )
    for row in rows:
        value = size_text(row.value) if row.unit == "B" else f"{_number(row.value)} {row.unit}"
        made.add_row(
            row.consumer,
            row.sync,
            escape(_with(row)),
            value,
            "" if row.p99 is None else _number(row.p99),
            escape(row.reference),
            "" if row.ratio is None else f"{row.ratio:.2f}",
        )
    return made


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _MANY else f"{value:,.2f}"


def _with(row: Row) -> str:
    return ", ".join(_parameter(name, value) for name, value in row.parameters.items())


def _parameter(name: str, value: Any) -> str:
    if name == "bytes":
        return size_text(value)
    return str(value) if name in ("step", "figure") else f"{name} {value}"


def check_plots() -> None:
    """Raise :class:`Unsupported` where no picture can be drawn, before anything is measured."""
    try:
        import matplotlib as mpl
    except ImportError as error:
        raise Unsupported("--png", "it takes Matplotlib: pip install 'gpu-interop[plots]'") from error
    mpl.use("Agg")


def picture(path: Path, rows: Sequence[Row]) -> None:
    """Draw one field for each measure that has figures. Dashed lines and crosses are the references.

    Call :func:`check_plots` first.
    """
    from matplotlib import pyplot as plt

    drawn: dict[str, tuple[str, Callable[[Any, Sequence[Row]], None]]] = {
        "import": ("import and map an allocation", _sizes),
        "staged": ("a frame, shared (dashed) and by host copies", _sizes),
        "bandwidth": ("kernel through an import, of own memory's speed", _ratios),
        "first_frame": ("connect to first frame, in a fresh process", _steps),
        "turn_cost": ("CPU time of a pair of turns", _bars),
        "round_trip": ("round trip between both devices", _bars),
        "ring": ("frame through a ring", _bars),
    }
    shown = [name for name in drawn if any(row.measure == name for row in rows)]
    across = min(2, len(shown))
    down = -(-len(shown) // across)
    figure, places = plt.subplots(down, across, figsize=(6.4 * across, 3.8 * down), squeeze=False)
    for place, name in zip(places.flat, shown, strict=False):
        title, draw = drawn[name]
        draw(place, [row for row in rows if row.measure == name])
        place.set_title(title, fontsize=10)
        place.grid(visible=True, alpha=0.3)
    for place in list(places.flat)[len(shown) :]:
        place.set_visible(False)
    figure.suptitle(_where(rows), fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _where(rows: Sequence[Row]) -> str:
    found = next(row.parameters for row in rows if row.measure == "environment")
    devices = "; ".join(f"{name}: {device}" for name, device in found["devices"].items())
    return f"{found['processor']}, {found['python']}\n{devices}"


def _consumers(rows: Sequence[Row]) -> dict[str, list[Row]]:
    return {name: [r for r in rows if r.consumer == name] for name in dict.fromkeys(r.consumer for r in rows)}


def _sizes(axes: Any, rows: Sequence[Row]) -> None:
    for consumer, own in _consumers([row for row in rows if "bytes" in row.parameters]).items():
        sizes = [row.parameters["bytes"] for row in own]
        (line,) = axes.plot(sizes, [row.value for row in own], "o-", label=consumer)
        held = [row for row in own if row.ratio]
        axes.plot(
            [row.parameters["bytes"] for row in held],
            [row.value / (row.ratio or 1.0) for row in held],
            "x--",
            color=line.get_color(),
        )
    axes.set(xscale="log", yscale="log", ylabel="µs")
    ticks = sorted({row.parameters["bytes"] for row in rows if "bytes" in row.parameters})
    axes.set_xticks(ticks, [size_text(tick) for tick in ticks], fontsize=8)
    axes.legend(fontsize=8)


def _ratios(axes: Any, rows: Sequence[Row]) -> None:
    names = [f"{row.consumer}\n{_with(row)}" for row in rows]
    bars = axes.bar(names, [row.ratio or 0.0 for row in rows], color="tab:blue", width=0.6)
    axes.bar_label(bars, [f"{row.value:,.0f}\n{row.unit}" for row in rows], fontsize=8)
    axes.axhline(1.0, linestyle="--", color="black", linewidth=1)
    axes.set_ylim(0, 1.25 * max(1.0, *(row.ratio or 0.0 for row in rows)))


def _bars(axes: Any, rows: Sequence[Row]) -> None:
    labels = [f"{row.consumer}, {row.sync} {_with(row)}".strip() for row in rows]
    names = list(dict.fromkeys(labels))
    for row, place in zip(rows, map(names.index, labels), strict=True):
        axes.barh(place, row.value, color="tab:blue", height=0.6)
        if row.ratio:
            crude = "entry points" in row.reference
            axes.plot(row.value / row.ratio, place, "+" if crude else "x", color="black", markersize=9)
    _name_bars(
        axes, names, f"{rows[0].unit} (by hand: × the bindings' functions, + the drivers' entry points)"
    )


def _name_bars(axes: Any, names: Sequence[str], unit: str) -> None:
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(unit, fontsize=8)


def _steps(axes: Any, rows: Sequence[Row]) -> None:
    names: list[str] = []
    for consumer, own in _consumers(rows).items():
        for label, steps in (
            (consumer, [row for row in own if not _with(row).startswith(("whole", "by hand"))]),
            (f"{consumer}, by hand", [row for row in own if _with(row).startswith("by hand")]),
        ):
            left = 0.0
            for number, row in enumerate(steps):
                axes.barh(len(names), row.value, left=left, height=0.6, color=f"C{number}")
                if row.value > 0.12 * sum(each.value for each in steps):  # room for its name
                    words = (
                        _with(row).removeprefix("by hand: ").replace(" of ", " of\n").replace("'s ", "'s\n")
                    )
                    axes.text(left + row.value / 2, len(names), words, ha="center", va="center", fontsize=6)
                left += row.value
            names.append(label)
    _name_bars(axes, names, "ms")
