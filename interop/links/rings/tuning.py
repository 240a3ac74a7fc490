"""Choosing slots and batch of a ring by measuring: what ``slots="auto"`` does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from interop.links.rings.layout import Auto, Trial, Tuning
from interop.protocols import DriverError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from interop.links.rings.frame_ring import FrameRing
    from interop.links.rings.layout import Consume, Produce, Slot
    from interop.protocols import Commands

SLOTS = (1, 2, 4, 8, 16, 32, 64)
"""What is tried where both are to be chosen; a batch is half of the slots."""
NEAR = 1.05
"""The smallest ring that takes at most this much of the best one's time per frame is chosen."""
MEMORY = 1 << 28
"""Bytes: rings that take more are not tried, but for the smallest."""
_CHUNKS = 3  # odd
_CHUNK = 24  # frames at least
_DULL = 3  # sizes in a row that gained nothing: larger ones are not tried


def sizes(slots: int | Auto | None, batch: int | Auto | None) -> list[tuple[int, int]]:
    """List the slots and batches to try, smallest first, for what is given and what is ``"auto"``.

    Raises :class:`InvalidArgument` for a given number that is not positive.
    """
    for name, given in (("slots", slots), ("batch", batch)):
        if isinstance(given, int) and given < 1:
            msg = f"{name} must be positive, or 'auto', got {given}"
            raise InvalidArgument(msg)
    if isinstance(slots, int):
        if isinstance(batch, int):
            return [(slots, batch)]
        return [(slots, each) for each in range(1, slots + 1) if slots % each == 0]
    if isinstance(batch, int):
        return [(batch * times, batch) for times in (1, 2, 3, 4)]
    return [(each, max(1, each // 2)) for each in SLOTS]


def choose(trials: Sequence[Trial], bound: float | None) -> Trial:
    """Return the smallest that is nearly as fast as the best, of those that keep to the bound."""
    allowed = [each for each in trials if bound is None or each.latency <= bound]
    if not allowed:
        return min(trials, key=lambda each: (each.latency, each.slots, each.batch))
    best = min(each.seconds for each in allowed)
    near = [each for each in allowed if each.seconds <= NEAR * best]
    return min(near, key=lambda each: (each.slots, each.batch))


def tune(
    candidates: Sequence[tuple[int, int]],
    open_ring: Callable[[int, int], FrameRing],
    produce: Produce | None,
    consume: Consume | None,
    bound: float | None,
    frame_bytes: int,
) -> Tuning:
    """Measure rings one after the other, each closed before the next, and choose.

    Without ``produce`` frames are filled with a word, without ``consume`` they are taken and given back. A size
    that the driver has no memory for ends the series, unless it is the first. Raises what opening a ring and
    running it raises.
    """
    if bound is not None and not bound > 0:
        msg = f"latency is a positive number of seconds, got {bound}"
        raise InvalidArgument(msg)
    trials: list[Trial] = []
    for slots, batch in _worth_trying(candidates, trials, frame_bytes):
        try:
            ring = open_ring(slots, batch)
        except DriverError:
            if not trials:
                raise
            break
        try:
            trials.append(_trial(ring, slots, produce or _fill, consume or _nothing))
        finally:
            ring.close()
    return Tuning(trials=tuple(trials), chosen=choose(trials, bound), bound=bound)


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
    return _pass


def _pass() -> None:
    return None
