"""A frame by copies through the host, held against the same frame shared, and the size from which sharing wins."""

from __future__ import annotations

import math
import statistics
from functools import partial
from typing import TYPE_CHECKING

from interop.cli._timing import WARM_UP, wall
from interop.cli.bench._measure import Row, against, size_text, sizes_of
from interop.protocols import InteropError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from interop.links import Link

_LARGE, _FEW = 32 << 20, 5


def rows(joined: Callable[..., Link], consumer: str, frames: int, notes: list[str]) -> Iterator[Row]:
    """Hand a whole frame over, filled by the producer, both ways at each size: shared, and by copies.

    The last row is the break-even: up to that many bytes copies are as fast.
    """
    figures: list[dict[int, list[float]]] = []
    for path in ("zero-copy", "staged"):
        found: dict[int, list[float]] = {}
        figures.append(found)
        try:
            with joined(path=path) as link:
                for size in sizes_of(link):
                    try:
                        found[size] = _frames(link, size, frames if size < _LARGE else _FEW)
                    except InteropError as error:
                        notes.append(f"{consumer}, {path} frame of {size_text(size)}: {error}")
        except InteropError as error:
            notes.append(f"{consumer}, staged: {error}")
    shared, copied = figures
    row = partial(Row, consumer=consumer, sync="auto", measure="staged")
    sizes = sorted(shared.keys() & copied.keys())
    for size in sizes:
        yield against(partial(row, parameters={"bytes": size}), copied[size], shared[size], "shared", "µs")
    even = break_even(*({size: statistics.median(times) for size, times in each.items()} for each in figures))
    if even is not None:
        bound = {float(sizes[-1]): "above", float(sizes[0]): "at most"}.get(even, "at")
        yield row(parameters={"figure": "break-even", "bound": bound}, value=even, unit="B")


def break_even(shared: Mapping[int, float], copied: Mapping[int, float]) -> float | None:
    """Return the bytes at which both cost the same: between two sizes, or the least or largest measured.

    None without a size that both have.
    """
    sizes = sorted(shared.keys() & copied.keys())
    if not sizes:
        return None
    gains = [math.log(copied[size] / shared[size]) for size in sizes]
    if gains[0] >= 0:
        return float(sizes[0])
    for low, high, before, after in zip(sizes, sizes[1:], gains, gains[1:], strict=False):
        if after >= 0:
            share = -before / (after - before)
            return float(math.exp(math.log(low) + share * (math.log(high) - math.log(low))))
    return float(sizes[-1])


def _frames(link: Link, size: int, frames: int) -> list[float]:
    """Return µs of each frame: filled, handed to the consumer, and waited for."""
    buffer = link.buffer(size, "uint8")
    producer_turn, consumer_turn = link.producer_turn(buffer), link.consumer_turn(buffer)
    times: list[float] = []
    warm_up = 2 if size >= _LARGE else WARM_UP
    for frame in range(-warm_up, frames):
        start = wall()
        with producer_turn as commands:
            commands.fill(buffer.producer_buffer, frame & 0xFF)
        with consumer_turn:
            pass
        link.synchronize()
        if frame >= 0:
            times.append((wall() - start) / 1e3)
    buffer.close()
    return times
