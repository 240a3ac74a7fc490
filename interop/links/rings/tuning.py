"""Tuning: slots and batch of a ring are chosen by measuring rings of several sizes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from interop.links.buffers import layout_of
from interop.protocols import DriverError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from interop.links.rings.frame_ring import FrameRing
    from interop.links.rings.layout import Consume, Produce, Slot, Source
    from interop.protocols import Commands

SLOTS = (1, 2, 4, 8, 16, 32, 64)
"""Slots that are tried where both numbers are to be chosen; a batch is half of the slots."""
NEAR = 1.05
"""The smallest ring that takes at most this much of the best one's time per frame is chosen."""
MEMORY = 1 << 28
"""Bytes: larger rings are not tried, except for the smallest one."""
_CHUNKS = 3  # odd
_CHUNK = 24  # frames at least
_DULL = 3  # sizes in a row that gained nothing: larger ones are not tried


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The measurement of one ring."""

    slots: int
    batch: int
    seconds: float
    """Seconds per frame: the median of three stretches in which the ring was full."""
    latency: float
    """Seconds from the enqueueing of a frame until it has been taken, at most: the frames that may be in flight
    times the time of one (Little's law)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """The measurements of :func:`tune_ring`, and its choice."""

    trials: tuple[Trial, ...]
    """In the order of measuring, smallest ring first."""
    chosen: Trial
    bound: float | None
    """The ``latency`` that the caller gave, in seconds."""

    @property
    def slots(self) -> int:
        """The chosen number of slots."""
        return self.chosen.slots

    @property
    def batch(self) -> int:
        """The chosen number of frames in a batch."""
        return self.chosen.batch

    @property
    def met(self) -> bool:
        """Whether the choice keeps to the bound. If no ring does, the one of least latency is chosen."""
        return self.bound is None or self.chosen.latency <= self.bound

    def __str__(self) -> str:
        found = self.chosen
        text = f"chosen of {len(self.trials)}: {found.seconds * 1e6:.1f} µs per frame, {found.latency * 1e3:.2f} ms"
        if self.bound is None:
            return text
        return f"{text}, {'within' if self.met else 'missing'} {self.bound * 1e3:.2f} ms"


class RingMaker(Protocol):
    """A link."""

    @property
    def ring(self) -> Callable[..., FrameRing]:
        """Allocate a ring; see :meth:`interop.links.Link.ring`."""
        ...


def tune_ring(
    link: RingMaker,
    shape: int | tuple[int, ...],
    dtype: object = "float32",
    *,
    source: Source = "producer",
    slots: int | None = None,
    batch: int | None = None,
    latency: float | None = None,
    produce: Produce | None = None,
    consume: Consume | None = None,
) -> Tuning:
    """Measure rings of several sizes, and choose the smallest that is within 5 % of the fastest.

    Runs some hundred frames on each ring, one ring after the other. A size for which the driver has no memory ends the
    series, unless it is the first. Give the result to the ring: ``link.ring(shape, dtype, slots=found.slots,
    batch=found.batch)``.

    Args:
        link: The link that is to have the ring.
        shape: The shape of one frame, as for :meth:`Link.buffer`.
        dtype: The dtype of one frame, as for :meth:`Link.buffer`.
        source: The side that makes the frames.
        slots: Number of slots that is fixed; None chooses it.
        batch: Frames of a batch that are fixed; None chooses them.
        latency: Upper bound of a frame's latency, in seconds. If no ring keeps to it, the one of least latency is
            chosen.
        produce: The producer's work on a frame, as for :meth:`FrameRing.record`; fills the frame by default.
        consume: The consumer's work on a frame, as for :meth:`FrameRing.record`; none by default.

    Returns:
        The measurements and the choice.

    Raises:
        InvalidArgument: A number is not positive.
        Unsupported: The pair shares no memory.
        DriverError: A driver refused a call.
    """
    frame = layout_of(shape, dtype)
    if latency is not None and not latency > 0:
        raise InvalidArgument(f"latency must be a positive number of seconds, got {latency!r}")
    trials: list[Trial] = []
    for some, each in _worth_trying(sizes(slots, batch), trials, frame.nbytes):
        try:
            ring = link.ring(frame.shape, frame.dtype, source=source, slots=some, batch=each)
        except DriverError:
            if not trials:
                raise
            break
        with ring:
            trials.append(_trial(ring, some, produce or _fill, consume or _nothing))
    return Tuning(trials=tuple(trials), chosen=choose(trials, latency), bound=latency)


def sizes(slots: int | None, batch: int | None) -> list[tuple[int, int]]:
    """List the slots and batches to try, smallest first.

    Raises:
        InvalidArgument: A given number is not positive.
    """
    for name, given in (("slots", slots), ("batch", batch)):
        if given is not None and given < 1:
            raise InvalidArgument(f"{name} must be positive, or None to be chosen, got {given!r}")
    if slots is not None:
        if batch is not None:
            return [(slots, batch)]
        return [(slots, each) for each in range(1, slots + 1) if slots % each == 0]
    if batch is not None:
        return [(batch * times, batch) for times in (1, 2, 3, 4)]
    return [(each, max(1, each // 2)) for each in SLOTS]


def choose(trials: Sequence[Trial], bound: float | None) -> Trial:
    """Return the smallest ring that is nearly as fast as the best, of those that keep to the bound."""
    allowed = [each for each in trials if bound is None or each.latency <= bound]
    if not allowed:
        return min(trials, key=lambda each: (each.latency, each.slots, each.batch))
    best = min(each.seconds for each in allowed)
    near = [each for each in allowed if each.seconds <= NEAR * best]
    return min(near, key=lambda each: (each.slots, each.batch))


def _worth_trying(
    candidates: Sequence[tuple[int, int]], trials: Sequence[Trial], frame_bytes: int
) -> Iterator[tuple[int, int]]:
    dull, mark = 0, float("inf")
    for slots, batch in candidates:
        if trials and slots * frame_bytes > MEMORY:
            return
        yield slots, batch
        dull += 1
        if trials[-1].seconds * NEAR <= mark:  # small gains add up: the mark stays until they are worth it
            dull, mark = 0, trials[-1].seconds
        if dull >= _DULL:
            return


def _trial(ring: FrameRing, slots: int, produce: Produce, consume: Consume) -> Trial:
    recorded = ring.record(produce=produce, consume=consume)
    # Once the ring is full the caller goes at the pace of the devices: nothing has to be waited for in between.
    in_flight = ring.room * ring.batch
    recorded.run(in_flight + 2 * slots)
    chunk = -(-_CHUNK // in_flight) * in_flight  # whole rounds, as the caller may be let go on in bursts
    found: list[float] = []
    for _ in range(_CHUNKS):
        start = time.perf_counter()
        recorded.run(chunk)
        found.append((time.perf_counter() - start) / chunk)
    ring.synchronize()
    seconds = sorted(found)[_CHUNKS // 2]  # the module for that takes longer to import than all of this
    return Trial(slots=slots, batch=ring.batch, seconds=seconds, latency=seconds * in_flight)


def _fill(commands: Commands, slot: Slot) -> None:
    commands.fill(slot, 0)


def _nothing(_slot: Slot) -> Callable[[], object]:
    return lambda: None
