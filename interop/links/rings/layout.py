"""What a ring is made of: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, NamedTuple

from interop.protocols import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.negotiation import Plan
    from interop.protocols import BufferPart, Commands, DType, MappedBuffer

    Produce = Callable[[Commands, "Slot"], object]
    Consume = Callable[["Slot"], Callable[[], object]]

Source = Literal["producer", "consumer"]
"""Which side makes the frames; the other one takes them."""


SOURCES: tuple[Source, ...] = ("producer", "consumer")


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """The place of one frame. Commands of the producer take it as a buffer."""

    index: int
    """Position in the ring."""
    view: MappedBuffer
    """The frame as the consumer sees it."""
    producer_buffer: BufferPart
    """The frame as the producer's commands take it."""


class Counts(NamedTuple):
    """What became of the frames of a ring: ``produced == consumed + dropped + waiting``."""

    produced: int
    """Handed over by the side that makes them."""
    consumed: int
    """Taken by the other side."""
    dropped: int
    """Made, and never taken."""
    waiting: int
    """Made, and not taken yet."""


class Tally:
    """The running counts of a ring."""

    __slots__ = ("consumed", "dropped", "produced")

    def __init__(self) -> None:
        self.produced = self.consumed = self.dropped = 0

    def counts(self) -> Counts:
        """Return them as they are now."""
        produced, consumed, dropped = self.produced, self.consumed, self.dropped
        return Counts(produced, consumed, dropped, produced - consumed - dropped)


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What a ring is made of."""

    shape: tuple[int, ...]
    """Elements of one frame."""
    dtype: DType
    nbytes: int
    """Bytes of one frame."""
    slots: int
    batch: int
    """Frames that are handed over together."""
    source: Source = "producer"

    def check(self, plan: Plan) -> None:
        """Raise :class:`InvalidArgument`, or :class:`Unsupported` where the pair shares no memory."""
        slots, batch = self.slots, self.batch
        if batch < 1 or slots < batch or slots % batch:
            msg = f"slots must be a multiple of the batch, both positive, got {slots} slots in batches of {batch}"
            raise InvalidArgument(msg)
        if self.source not in SOURCES:
            raise InvalidArgument(f"source must be 'producer' or 'consumer', got {self.source!r}")
        if plan.handle_type is None:
            reason = "frames go through host memory on this pair, one at a time; use link.buffer"
            raise Unsupported("a frame ring", reason)


Auto = Literal["auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """What was measured for one ring."""

    slots: int
    batch: int
    seconds: float
    """Per frame: the median of three stretches in which the ring was full."""
    latency: float
    """Seconds from the enqueueing of a frame until it has been taken, at most: the frames that may be in flight
    times the time of one (Little's law)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """What was measured, and what was chosen."""

    trials: tuple[Trial, ...]
    """In the order of measuring, smallest first."""
    chosen: Trial
    bound: float | None
    """The latency asked for, in seconds."""

    @property
    def met(self) -> bool:
        """Whether the choice keeps to the bound; where none does, the one of least latency is chosen."""
        return self.bound is None or self.chosen.latency <= self.bound

    def __str__(self) -> str:
        found = self.chosen
        text = f"chosen of {len(self.trials)}: {found.seconds * 1e6:.1f} µs per frame, {found.latency * 1e3:.2f} ms"
        if self.bound is None:
            return text
        return f"{text}, {'within' if self.met else 'missing'} {self.bound * 1e3:.2f} ms"
