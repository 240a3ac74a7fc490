"""What ``interop compare`` shows: a table, a JSON document, a picture."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

    from interop.cli.compare.measure import Agreement, Result

_CAPTION = 18  # pixels above each row of pictures
_COLUMNS = 4


def table(results: Sequence[Result]) -> Table:
    """Return one row per figure and one column per consumer, so that long reasons have room to wrap."""
    grid = Table(title="one producer, every consumer", title_justify="left", header_style="bold")
    grid.add_column("", no_wrap=True)
    for result in results:
        grid.add_column(result.consumer, overflow="fold")
    for title, cell in _ROWS:
        grid.add_row(title, *(cell(result) for result in results))
    return grid


def _figure(value: float | None, digits: int = 0) -> str:
    return "-" if value is None else f"{value:,.{digits}f}"


def _verified(result: Result) -> str:
    if not result.available:
        return "-"
    colour = "green" if result.correct else "red"
    return f"[{colour}]{result.verified_frames} of {result.frames}[/]"


def _ratio(result: Result) -> str:
    if not result.frames_per_second or not result.staged_frames_per_second:
        return "-"
    return f"{result.frames_per_second / result.staged_frames_per_second:.2f} x"


_ROWS: tuple[tuple[str, Callable[[Result], str]], ...] = (
    ("device", lambda r: r.device or "[yellow]not available[/]"),
    ("runs on", lambda r: ("software (host processor)" if r.software else "GPU") if r.available else "-"),
    ("same device by", lambda r: r.device_match or "-"),
    ("handle type", lambda r: r.handle_type or "-"),
    ("path", lambda r: r.path or "-"),
    ("sync to consumer", lambda r: r.to_consumer or "-"),
    ("sync to producer", lambda r: r.to_producer or "-"),
    ("frames verified", _verified),
    ("largest error", lambda r: "-" if r.max_abs_error is None else f"{r.max_abs_error:.1e}"),
    ("import, µs", lambda r: _figure(r.import_us)),
    ("round trip, µs", lambda r: _figure(r.round_trip_median_us)),
    ("  99th percentile", lambda r: _figure(r.round_trip_p99_us)),
    ("frames/s", lambda r: _figure(r.frames_per_second)),
    ("  by host copies", lambda r: _figure(r.staged_frames_per_second)),
    ("gain", _ratio),
    ("reason", lambda r: escape(r.reason)),
)


def document(producer: str, results: Sequence[Result], agreements: Sequence[Agreement]) -> dict[str, Any]:
    """Return the JSON form of a comparison."""
    device = next((result.producer_device for result in results if result.producer_device), None)
    return {
        "producer": {"backend": producer, "device": device},
        "results": [
            {
                "consumer": result.consumer,
                "available": result.available,
                "reason": result.reason or None,
                "device": result.device or None,
                "software": result.software if result.available else None,
                "device_match": result.device_match,
                "handle_type": result.handle_type,
                "path": result.path,
                "sync": {"to_consumer": result.to_consumer, "to_producer": result.to_producer},
                "frames": result.frames,
                "verified_frames": result.verified_frames,
                "max_abs_error": result.max_abs_error,
                "import_us": result.import_us,
                "round_trip_us": {"median": result.round_trip_median_us, "p99": result.round_trip_p99_us},
                "frames_per_second": result.frames_per_second,
                "staged_frames_per_second": result.staged_frames_per_second,
                "explanation": result.explanation or None,
            }
            for result in results
        ],
        "agreement": [asdict(agreement) for agreement in agreements],
    }


def write_png(path: Path, results: Sequence[Result]) -> bool:
    """Write a contact sheet: per consumer a caption and its rendered frames. False when there are none."""
    shown = [result for result in results if result.pictures]
    if not shown:
        return False
    height, width = next(iter(shown[0].pictures.values())).shape[:2]
    frames = sorted(shown[0].pictures)
    chosen = [frames[round(index * (len(frames) - 1) / max(1, _COLUMNS - 1))] for index in range(_COLUMNS)]
    sheet = Image.new("RGB", (width * _COLUMNS, (height + _CAPTION) * len(shown)), "white")
    draw = ImageDraw.Draw(sheet)
    for row, result in enumerate(shown):
        top = row * (height + _CAPTION)
        caption = (
            f"{result.consumer}: {result.device}; {result.path}, {result.to_consumer} / {result.to_producer}"
        )
        draw.text((4, top + 3), caption, fill="black")
        for column, frame in enumerate(chosen):
            picture = Image.fromarray(result.pictures[frame][:, :, :3])
            sheet.paste(picture, (column * width, top + _CAPTION))
            draw.text((column * width + 4, top + _CAPTION + 2), f"frame {frame}", fill="white")
    sheet.save(path)
    return True
