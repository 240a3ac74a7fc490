"""The measurements of ``interop bench``. Each yields rows; a row is one figure with what it was taken with."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from interop.connection import connect
from interop.errors import InteropError, WaitTimeout
from interop.negotiation import Strategy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from interop.link import Link

_WARM_UP = 20
_KIB = 1024
IMPORT_SIZES = tuple(_KIB << shift for shift in (2, 6, 10, 16))
"""4 KiB to 64 MiB."""
LARGEST = 1 << 30
"""Of a frame by host copies, on hardware."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure."""

    consumer: str
    sync: str
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


def strategies(consumer: str, producer: str, timeout: float) -> list[str]:
    """Return the strategies that the pair has here."""
    found: list[str] = []
    for strategy in Strategy:
        try:
            connect(producer, consumer, sync=strategy.value, timeout=timeout).close()
        except InteropError:
            continue
        found.append(strategy.value)
    return found


def first_frame(producer: str, consumer: str, sync: str, timeout: float) -> Iterator[Row]:
    """Time from ``connect`` to the first buffer whose bytes have been there and back, step by step."""
    start = time.perf_counter()
    with connect(producer, consumer, sync=sync, timeout=timeout) as link:
        connected = time.perf_counter()
        buffer = link.buffer(1024, "uint32")
        made = time.perf_counter()
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer.producer_buffer, 1)
        with link.consumer_turn(buffer) as view:
            view.read(bytearray(buffer.nbytes), timeout=timeout)
        done = time.perf_counter()
    for step, seconds in (
        ("connect", connected - start),
        ("buffer", made - connected),
        ("frame", done - made),
    ):
        yield Row(
            consumer=consumer,
            sync=sync,
            measure="first_frame",
            parameters={"step": step},
            value=seconds * 1e3,
            unit="ms",
        )


def imports(link: Link, sync: str) -> Iterator[Row]:
    """Export, import and map, by size."""
    handle_type = link.plan.handle_type
    if handle_type is None:
        return
    for size in IMPORT_SIZES:
        buffer = link.producer.create_buffer(size, export=handle_type)
        times: list[float] = []
        for _ in range(_WARM_UP * 2):
            start = time.perf_counter()
            handle, descriptor = buffer.export_memory()
            with handle:
                memory = link.consumer.import_memory(handle, descriptor)
            view = memory.map_buffer()
            times.append((time.perf_counter() - start) * 1e6)
            view.close()
            memory.close()
        buffer.close()
        yield _row(link, sync, "import", {"bytes": size}, times[_WARM_UP:], "µs")


def turn_cost(link: Link, sync: str, frames: int) -> Iterator[Row]:
    """Time that the caller spends in a pair of turns while nobody waits for the work, and for a whole round trip."""
    buffer = link.buffer(1024, "uint32")
    consumer_turn, producer_turn = link.consumer_turn(buffer), link.producer_turn(buffer)
    progress = link.producer.progress

    def pair() -> None:
        with consumer_turn:
            pass
        with producer_turn:
            pass

    def round_trip() -> None:
        pair()
        if not progress.wait_host(producer_turn.progress, link.timeout):
            raise WaitTimeout(f"{link.plan.producer.backend} to finish a frame", link.timeout)

    yield _row(link, sync, "turn_cost", {}, _repeat(pair, frames, link), "µs")
    yield _row(link, sync, "round_trip", {}, _repeat(round_trip, frames, link), "µs")
    link.synchronize()
    start = time.perf_counter()
    for _ in range(frames):
        pair()
    link.synchronize()
    seconds = time.perf_counter() - start
    yield Row(
        consumer=link.plan.consumer.backend,
        sync=sync,
        measure="frames",
        parameters={"frames": frames},
        value=frames / seconds,
        unit="1/s",
    )


def _repeat(step: Callable[[], None], frames: int, link: Link) -> list[float]:
    times: list[float] = []
    for frame in range(-_WARM_UP, frames):
        start = time.perf_counter()
        step()
        if frame >= 0:
            times.append((time.perf_counter() - start) * 1e6)
        if frame % 32 == 0:
            link.synchronize()  # bounded work in flight, outside the clock
    return times


def staged(producer: str, consumer: str, timeout: float, frames: int) -> Iterator[Row]:
    """A whole frame by host copies, held against the same frame shared, by size."""
    sizes = list(IMPORT_SIZES)
    for size in sizes:
        figures: dict[str, list[float]] = {}
        for require in ("zero-copy", "staged"):
            try:
                with connect(producer, consumer, require=require, timeout=timeout) as link:
                    figures[require] = _frames(link, size, frames if size < LARGEST else 3)
                    hardware = not link.plan.consumer.software
            except InteropError:
                continue
            if hardware and LARGEST not in sizes:
                sizes.append(LARGEST)
        if len(figures) == 2:  # noqa: PLR2004 - both paths ran
            shared, copied = (statistics.median(figures[path]) for path in ("zero-copy", "staged"))
            yield Row(
                consumer=consumer,
                sync="auto",
                measure="staged_frame",
                parameters={"bytes": size},
                value=copied,
                unit="µs",
                p99=float(np.percentile(figures["staged"], 99)),
                reference=f"shared, {shared:.0f} µs",
                ratio=copied / shared,
            )


def _frames(link: Link, size: int, frames: int) -> list[float]:
    buffer = link.buffer(size, "uint8")
    producer_turn, consumer_turn = link.producer_turn(buffer), link.consumer_turn(buffer)
    times: list[float] = []
    for frame in range(-2, frames):
        start = time.perf_counter()
        with producer_turn as commands:
            commands.fill(buffer.producer_buffer, frame & 0xFF)
        with consumer_turn:
            pass
        link.synchronize()
        if frame >= 0:
            times.append((time.perf_counter() - start) * 1e6)
    return times


def _row(
    link: Link, sync: str, measure: str, parameters: Mapping[str, Any], times: Sequence[float], unit: str
) -> Row:
    return Row(
        consumer=link.plan.consumer.backend,
        sync=sync,
        measure=measure,
        parameters=parameters,
        value=statistics.median(times),
        unit=unit,
        p99=float(np.percentile(times, 99)),
    )
