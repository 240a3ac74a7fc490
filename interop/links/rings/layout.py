"""What a ring is made of: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from operator import index
from typing import TYPE_CHECKING, Literal, NamedTuple, cast

from interop.protocols import InvalidArgument, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex

    from interop.links.buffers import Layout
    from interop.negotiation import Plan
    from interop.protocols import BufferPart, Commands, MappedBuffer

    Produce = Callable[[Commands, "Slot"], object]
    Consume = Callable[["Slot"], Callable[[], object]]

Source = Literal["producer", "consumer"]
"""The side that makes the frames; the other side takes them."""
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
    """Numbers of a ring's frames: ``produced == consumed + dropped + waiting``."""

    produced: int
    """Frames that the side which makes them has handed over."""
    consumed: int
    """Frames that the other side has taken."""
    dropped: int
    """Frames that were made and never taken."""
    waiting: int
    """Frames that were made and are not taken yet."""


def as_count(name: str, given: object) -> int | None:
    """Return a number of slots or frames as an int, and None as it is.

    Raises:
        InvalidArgument: The argument is no integer.
    """
    if given is None:
        return None
    if isinstance(given, bool) or not hasattr(given, "__index__"):
        raise InvalidArgument(f"{name} must be an int, got {given!r}; interop.tune_ring measures and chooses")
    return index(cast("SupportsIndex", given))


@dataclass(frozen=True, slots=True, kw_only=True)
class RingLayout:
    """Frames, slots and batches of a ring."""

    frame: Layout
    """Shape, dtype and bytes of one frame."""
    slots: int
    batch: int
    """Frames that are handed over together."""
    source: Source = "producer"

    def check(self, plan: Plan) -> None:
        """Check the numbers.

        Raises:
            InvalidArgument: ``slots`` is no positive multiple of ``batch``, or ``source`` is unknown.
            Unsupported: The pair shares no memory.
        """
        slots, batch = self.slots, self.batch
        if batch < 1 or slots < batch or slots % batch:
            msg = f"slots must be a multiple of the batch, both positive, got {slots} slots in batches of {batch}"
            raise InvalidArgument(msg)
        if self.source not in SOURCES:
            raise InvalidArgument(f"source must be 'producer' or 'consumer', got {self.source!r}")
        if plan.handle_type is None:
            reason = "frames go through host memory on this pair, one at a time; use link.buffer"
            raise Unsupported("a frame ring", reason)
