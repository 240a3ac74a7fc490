"""Plans: the chosen memory path and synchronisation of a pair of devices, as data and as text."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import HandleType

if TYPE_CHECKING:
    from interop.protocols import DeviceInfo, MatchKey, SemaphoreKind


class MemoryPath(enum.StrEnum):
    """The way by which the bytes of a buffer reach the other API."""

    ZERO_COPY = "zero-copy"
    """Both APIs use one allocation."""
    STAGED = "staged"
    """Each API has an allocation. Each acquire copies the bytes through host memory."""


class Strategy(enum.StrEnum):
    """The way by which the stream of one API waits for the stream of the other, best first."""

    NATIVE = "native"
    """Both drivers wait for and signal an exported semaphore on the device."""
    BRIDGED = "bridged"
    """The host relays the producer's timeline to the consumer's stream. The caller does not block."""
    BLOCKING = "blocking"
    """The caller blocks until the work of one API has ended, and then goes on with the other."""


class Direction(enum.StrEnum):
    """The direction of an ownership transfer."""

    TO_CONSUMER = "to consumer"
    """The producer releases and the consumer acquires."""
    TO_PRODUCER = "to producer"
    """The consumer releases and the producer acquires."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """The synchronisation of one direction."""

    strategy: Strategy
    """The strategy that orders the two streams."""
    kind: SemaphoreKind | None = None
    """Kind of the exported semaphore; None unless the strategy is native."""
    handle_type: HandleType | None = None
    """Handle type of the exported semaphore; None unless the strategy is native."""
    means: str = ""
    """The driver calls of the strategy, for reports."""

    def __str__(self) -> str:
        parts = [self.kind.value, self.handle_type.value] if self.kind and self.handle_type else []
        parts += [self.means] if self.means else []
        return self.strategy.value + (f" ({', '.join(parts)})" if parts else "")


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that was not chosen."""

    candidate: str
    """The handle type or strategy."""
    reason: str
    """Why it was not chosen, in one line."""

    def __str__(self) -> str:
        return f"{self.candidate}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The memory path and synchronisation of a pair of devices, with the reasons against the alternatives."""

    producer: DeviceInfo
    """The device that owns the memory."""
    consumer: DeviceInfo
    """The device that imports the memory."""
    match: MatchKey | None
    """The key that proves both to be one physical device. None: two devices."""
    path: MemoryPath
    """How bytes reach the other API."""
    handle_type: HandleType | None
    """Handle type of the shared allocation. None for the staged path."""
    to_consumer: SyncPlan
    """Synchronisation of an acquire by the consumer."""
    to_producer: SyncPlan
    """Synchronisation of an acquire by the producer."""
    rejected: tuple[Rejection, ...] = ()
    """Candidates that were not chosen."""

    def explain(self) -> str:
        """Return the plan as lines of text: devices, memory, both directions, and the rejected candidates."""
        how = f"by {self.handle_type.value}" if self.handle_type else "through host memory"
        memory = f"{self.path.value} {how}"
        if self.handle_type is HandleType.HOST_ALLOCATION and self.consumer.capabilities.host_memory:
            memory += f" ({self.consumer.capabilities.host_memory})"
        lines = [
            f"producer     {describe(self.producer)}",
            f"consumer     {describe(self.consumer)}",
            f"same device  {'by ' + self.match.value if self.match else 'no'}",
            f"memory       {memory}",
            f"to consumer  {self.to_consumer}",
            f"to producer  {self.to_producer}",
        ]
        if self.rejected:
            lines += ["not chosen", *(f"  - {rejection}" for rejection in self.rejected)]
        return "\n".join(lines)


def describe(device: DeviceInfo) -> str:
    """Return a device as text: backend, name, and whether it is software or runs on another API."""
    tags = ["software"] if device.software else []
    tags += [f"on {device.layered}"] if device.layered else []
    return f"{device.backend}: {device.name}" + (f" ({', '.join(tags)})" if tags else "")
