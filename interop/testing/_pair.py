"""The two devices under test, and which parts of the contract they offer."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from interop import negotiation
from interop.negotiation import missing, offered
from interop.protocols import ONE_SHOT, HandleType, InteropError, InvalidArgument, SemaphoreKind

if TYPE_CHECKING:
    from interop.negotiation import Plan
    from interop.protocols import Consumer, ConsumerBackend, DeviceInfo, Producer, ProducerBackend, Tiling
    from interop.registry import Registry


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A producer's and a consumer's device. Opens nothing by itself."""

    registry: Registry
    producers: ProducerBackend
    consumers: ConsumerBackend
    producer: DeviceInfo
    consumer: DeviceInfo
    plan: Plan
    """What is negotiated for the two when no strategy is forced."""
    asked: str | None = None
    """By which handle type memory is to travel; None: the best."""

    @classmethod
    def find(
        cls,
        registry: Registry,
        producer: str,
        consumer: str,
        *,
        handle_type: str | None = None,
        **choices: Any,
    ) -> Pair:
        """Load both backends and choose devices as ``interop.connect`` does. Raises what that raises.

        ``choices``: ``producer_choice`` and ``consumer_choice``, an index or part of the text of a device.
        """
        producers, consumers = registry.load_producer(producer), registry.load_consumer(consumer)
        left, right, match = negotiation.select_devices(producers.devices(), consumers.devices(), **choices)
        plan = negotiation.negotiate(left, right, match, handle_type=handle_type, veto=registry.veto)
        return cls(
            registry=registry,
            producers=producers,
            consumers=consumers,
            producer=left,
            consumer=right,
            plan=plan,
            asked=handle_type,
        )

    def open_producer(self) -> contextlib.closing[Producer]:
        """Open the producer's device for a ``with`` block."""
        return contextlib.closing(self.producers.open_producer(self.producer))

    def open_consumer(self) -> contextlib.closing[Consumer]:
        """Open the consumer's device for a ``with`` block."""
        return contextlib.closing(self.consumers.open_consumer(self.consumer))

    @property
    def handle_type(self) -> HandleType:
        """By which type memory travels; ask :meth:`lacks` for ``"zero-copy"`` first."""
        if self.plan.handle_type is None:
            raise InvalidArgument("this pair shares no memory")
        return self.plan.handle_type

    def lacks(self, need: str) -> str | None:
        """Return why the pair does not offer ``need``, or None where it does."""
        handle_type = self.plan.handle_type
        if need in ("zero-copy", "descriptors", "host-memory"):
            if handle_type is None:
                return "; ".join(map(str, self.plan.rejected)) or "no common handle type"
            by_host = handle_type is HandleType.HOST_ALLOCATION
            fits = {"zero-copy": True, "descriptors": handle_type.is_fd, "host-memory": by_host}[need]
            return None if fits else f"memory travels by {handle_type.value} here"
        if need in ("signals-in", "signals-out"):
            sides = self.producer, self.consumer
            signals, waits = sides if need == "signals-in" else sides[::-1]
            exported = signals.capabilities.exportable(SemaphoreKind.BINARY)
            imported = waits.capabilities.importable(SemaphoreKind.BINARY)
            reason = missing(ONE_SHOT, exported, imported, signals, waits)
            reason = reason or self.registry.veto(*sides, ONE_SHOT, SemaphoreKind.BINARY.value)
            return f"{ONE_SHOT.value}: {reason}" if reason else None
        capability = {
            "stream-hold": self.consumer.capabilities.stream_hold,
            "stream-notify": self.consumer.capabilities.stream_notify,
        }
        if need not in capability:
            raise InvalidArgument(f"no such need: {need!r}")
        return None if capability[need] else f"{self.consumer.name} offers no {need.replace('-', ' ')}"

    def semaphore_type(self, kind: SemaphoreKind) -> HandleType | None:
        """Return the handle type by which semaphores of a kind travel both ways, or None."""
        sides = self.producer, self.consumer
        common = self.producer.capabilities.exportable(kind) & self.consumer.capabilities.importable(kind)
        types = (each for each in negotiation.SEMAPHORE_TYPES if each in common)
        return next((each for each in types if not self.registry.veto(*sides, each, kind.value)), None)

    def lacks_kind(self, kind: SemaphoreKind) -> str | None:
        """Return why semaphores of ``kind`` cannot be shared, or None where they can."""
        if self.semaphore_type(kind) is not None:
            return None
        exported = ", ".join(self.producer.capabilities.exportable(kind)) or "nothing"
        imported = ", ".join(self.consumer.capabilities.importable(kind)) or "nothing"
        notes = self.consumer.capabilities.semaphore_notes
        lacking = f"{self.producer.name} exports {exported}, {self.consumer.name} imports {imported}"
        return "; ".join([lacking, *notes])

    def lacks_tiling(self, tiling: Tiling) -> str | None:
        """Return why images of a tiling cannot be shared, or None where they can."""
        found = offered(self.producer, self.consumer, self.plan.handle_type)
        return None if tiling in found.tilings else "; ".join(found.reasons)

    def lacks_sync(self, strategy: str) -> str | None:
        """Return why a strategy cannot order the two, or None where it can."""
        try:
            negotiation.negotiate(
                self.producer,
                self.consumer,
                self.plan.match,
                sync=strategy,
                handle_type=self.asked,
                veto=self.registry.veto,
            )
        except InteropError as error:
            return " ".join(str(error).split())
        return None
