"""What was chosen for a pair of devices, as data, and how it is told to people."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import HandleType

if TYPE_CHECKING:
    from interop.protocols import DeviceInfo, MatchKey, SemaphoreKind


class MemoryPath(enum.StrEnum):
    """How a buffer gets from one side to the other."""

    ZERO_COPY = "zero-copy"
    """One allocation, seen by both."""
    STAGED = "staged"
    """Two allocations and a copy through host memory at each hand-over."""


class Strategy(enum.StrEnum):
    """How one side's stream is made to wait for the other's, best first."""

    NATIVE = "native"
    """An exported semaphore, waited on and signalled by both drivers on the device."""
    BRIDGED = "bridged"
    """A timeline that never leaves the producer; the host relays it without blocking the caller."""
    BLOCKING = "blocking"
    """The caller waits for one side before it goes on with the other."""


class Direction(enum.StrEnum):
    """Which way memory is handed over."""

    TO_CONSUMER = "to consumer"
    TO_PRODUCER = "to producer"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncPlan:
    """How the streams are ordered in one direction."""

    strategy: Strategy
    kind: SemaphoreKind | None = None
    """Kind of the exported semaphore; native only."""
    handle_type: HandleType | None = None
    """How it travels; native only."""
    means: str = ""
    """The calls it rests on, for reports."""

    def __str__(self) -> str:
        parts = [self.kind.value, self.handle_type.value] if self.kind and self.handle_type else []
        return f"{self.strategy.value}" + (
            f" ({', '.join([*parts, self.means]).strip(', ')})" if parts or self.means else ""
        )


@dataclass(frozen=True, slots=True)
class Rejection:
    """A candidate that was not taken."""

    candidate: str
    reason: str

    def __str__(self) -> str:
        return f"{self.candidate}: {self.reason}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What was chosen for a pair of devices, and why each alternative was not."""

    producer: DeviceInfo
    consumer: DeviceInfo
    match: MatchKey | None
    path: MemoryPath
    handle_type: HandleType | None
    to_consumer: SyncPlan
    to_producer: SyncPlan
    rejected: tuple[Rejection, ...] = ()

    def explain(self) -> str:
        """Return the plan as a few lines of text for people."""
        memory = f"{self.path.value}" + (
            f" by {self.handle_type.value}" if self.handle_type else " through host memory"
        )
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
    """Return backend and name of a device, and whether it is software or stands on another API."""
    tags = [
        tag
        for tag in ("software" if device.software else "", device.layered and f"on {device.layered}")
        if tag
    ]
    return f"{device.backend}: {device.name}" + (f" ({', '.join(tags)})" if tags else "")
