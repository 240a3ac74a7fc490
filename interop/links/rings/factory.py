"""The rings of a link: which kind is made, of which size, and their end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.rings.frame_ring import FrameRing
from interop.links.rings.latest_ring import LatestRing
from interop.links.rings.layout import Layout
from interop.protocols import InvalidArgument
from interop.toolkit import Deferred

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links.order import Order
    from interop.links.rings.layout import Auto, Consume, Produce, Source
    from interop.negotiation import Plan
    from interop.protocols import Consumer, DType, Producer

THROUGHPUT, LATENCY = "throughput", "latency"
AUTO = "auto"


class Rings:
    """Makes rings for a link, and knows those that are open."""

    def __init__(
        self,
        plan: Plan,
        producer: Producer,
        consumer: Consumer,
        order: Order,
    ) -> None:
        self._ends = (plan, producer, consumer, order)
        self._open: list[FrameRing | LatestRing] = []

    def make(
        self,
        drain: Callable[[float], None],
        shape: tuple[int, ...],
        dtype: DType,
        nbytes: int,
        *,
        mode: str = THROUGHPUT,
        source: Source = "producer",
        slots: int | Auto | None = None,
        batch: int | Auto | None = None,
        latency: float | None = None,
        produce: Produce | None = None,
        consume: Consume | None = None,
    ) -> FrameRing | LatestRing:
        """See :meth:`interop.links.Link.ring`."""
        kinds: dict[str, type[FrameRing | LatestRing]] = {THROUGHPUT: FrameRing, LATENCY: LatestRing}
        kind = kinds.get(mode)
        if kind is None:
            raise InvalidArgument(f"mode must be one of {', '.join(kinds)}, got {mode!r}")

        def fixed(slots: int | None, batch: int | None) -> FrameRing | LatestRing:
            some, each = kind.sizes(slots, batch)
            layout = Layout(shape=shape, dtype=dtype, nbytes=nbytes, slots=some, batch=each, source=source)
            with Deferred():  # it is the link's, and closed with it, before anything else can happen
                ring = kind(*self._ends, drain, layout)
                self._open = [*(each for each in self._open if not each.closed), ring]
            return ring

        def tried(slots: int, batch: int) -> FrameRing:
            ring = fixed(slots, batch)
            assert isinstance(ring, FrameRing)  # the other kind has nothing to measure
            return ring

        if isinstance(slots, str) or isinstance(batch, str):
            from interop.links.rings.tuning import sizes, tune

            for name, given in (("slots", slots), ("batch", batch)):
                if isinstance(given, str) and given != AUTO:
                    raise InvalidArgument(f"{name} is a number or {AUTO!r}, got {given!r}")
            if kind is LatestRing:
                msg = (
                    "rings of the newest frame have three batches; there is nothing to measure: give numbers"
                )
                raise InvalidArgument(msg)
            tuning = tune(sizes(slots, batch), tried, produce, consume, latency, nbytes)
            ring = tried(tuning.chosen.slots, tuning.chosen.batch)
            ring.tuning = tuning
            return ring
        if latency is not None or produce is not None or consume is not None:
            raise InvalidArgument(f"latency, produce and consume are for measuring: slots={AUTO!r}")
        return fixed(slots, batch)

    def release(self) -> None:
        """Free every ring; work must have ended."""
        for ring in self._open:
            ring.release()
        self._open.clear()
