"""What the measurements of ``interop bench`` share: a row is one figure with what it was taken with."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interop.cli._timing import WARM_UP

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.links import Link

KIB, MIB, GIB = 1 << 10, 1 << 20, 1 << 30
SIZES = (4 * KIB, 64 * KIB, MIB, 64 * MIB, GIB)


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    consumer: str
    sync: str
    """Strategy of the link; ``auto`` where it plays no part."""
    measure: str
    parameters: Mapping[str, Any] = field(default_factory=dict[str, Any])
    value: float
    """Median, or the figure of a single run."""
    unit: str
    p99: float | None = None
    reference: str = ""
    """What it was held against in the same run; empty when against nothing."""
    ratio: float | None = None
    """This figure over the reference's."""


def size_text(size: float) -> str:
    """Say bytes as people do: ``"64 KiB"``."""
    for unit, scale in (("GiB", GIB), ("MiB", MIB), ("KiB", KIB)):
        if size >= scale:
            return f"{size / scale:.3g} {unit}"
    return f"{size:.0f} B"


def sizes_of(link: Link) -> tuple[int, ...]:
    """Return the sizes to measure a link with. Software drivers share their memory with everything else: no 1 GiB."""
    return SIZES[:-1] if link.plan.consumer.software else SIZES


def p99(times: Sequence[float]) -> float:
    """Return the 99th percentile."""
    return float(np.percentile(times, 99))


def against(
    row: Callable[..., Row], ours: Sequence[float], theirs: Sequence[float], name: str, unit: str
) -> Row:
    """Make a row of medians; ``theirs`` are the reference's figures of the same run, empty where there is none."""
    value = statistics.median(ours)
    made = {"value": value, "unit": unit, "p99": p99(ours)}
    if theirs:
        other = statistics.median(theirs)
        made |= {"reference": f"{name}, {other:,.1f} {unit}", "ratio": value / other}
    return row(**made)


@dataclass(slots=True)
class Contestant:
    """Something that is timed in turns with others, so that all see the same machine."""

    step: Callable[[], object]
    settle: Callable[[], object]
    """Called between blocks, outside the clock: brings the work in flight to an end."""
    clock: Callable[[], int]
    times: list[float] = field(default_factory=list[float])
    """Microseconds of each repetition, or the mean of each block of several."""

    def block(self, length: int) -> float:
        """Return the mean µs of ``length`` repetitions."""
        step, clock = self.step, self.clock
        start = clock()
        for _ in range(length):
            step()
        spent = clock() - start
        self.settle()
        return spent / length / 1e3


def race(contestants: Sequence[Contestant], repetitions: int, *, length: int = 1) -> None:
    """Time all of them in turns, in blocks of ``length`` repetitions, after a warm-up."""
    for _ in range(max(1, WARM_UP // length)):
        for each in contestants:
            each.block(length)
    for _ in range(max(1, repetitions // length)):
        for each in contestants:
            each.times.append(each.block(length))


cpu = time.thread_time_ns
"""Nanoseconds that this thread has had a CPU for."""


def then(first: Callable[[], object], second: Callable[[], object]) -> Callable[[], None]:
    """Return a function that calls one and then the other."""

    def both() -> None:
        first()
        second()

    return both
