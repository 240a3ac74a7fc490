"""Choice of the strategy by which the stream of one API waits for the stream of the other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from interop.negotiation.candidates import missing
from interop.negotiation.plan import Direction, Rejection, Strategy, SyncPlan
from interop.protocols import ONE_SHOT, HandleType, NoCommonSync, SemaphoreKind

if TYPE_CHECKING:
    from interop.negotiation.candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey

SEMAPHORE_TYPES = (HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT)
"""Handle types that carry a reusable semaphore, best first. Sync files come after them."""

_NOT_SENT = "each signal has a sync file of its own, and links between processes do not send it"
_HELD_FOR_EVER = "if the consumer's process is killed, the producer's queue waits for its signal for ever"


@dataclass(frozen=True, slots=True, kw_only=True)
class SyncChoice:
    """The choice of a strategy for one direction, with the reasons against the candidates tried so far."""

    producer: DeviceInfo
    consumer: DeviceInfo
    match: MatchKey | None
    direction: Direction
    veto: Veto
    apart: bool
    """Whether producer and consumer run in different processes."""
    reasons: list[Rejection] = field(default_factory=list[Rejection])
    """Reasons against the candidates, in the order in which they were tried."""

    def choose(self, wanted: Strategy | None) -> SyncPlan:
        """Return the best possible strategy.

        Args:
            wanted: The only strategy to try; None tries all.

        Raises:
            NoCommonSync: The wanted strategy is not possible. The error has the reason against each candidate.
        """
        if wanted in (None, Strategy.NATIVE) and (plan := self._native()) is not None:
            return plan
        if wanted in (None, Strategy.BRIDGED) and (plan := self._bridged()) is not None:
            return plan
        if wanted in (None, Strategy.BLOCKING):
            return SyncPlan(strategy=Strategy.BLOCKING, means="the caller waits")
        pair = f"{self.producer.backend} and {self.consumer.backend}"
        notes = (*self.producer.capabilities.semaphore_notes, *self.consumer.capabilities.semaphore_notes)
        what = f"{wanted} synchronisation, {self.direction.value}, between {pair}"
        raise NoCommonSync(what, reasons=[*map(str, self.reasons), *notes])

    def _reject(self, candidate: str, reason: str) -> None:
        self.reasons.append(Rejection(f"{candidate}, {self.direction.value}", reason))

    def _native(self) -> SyncPlan | None:
        """Return a plan with an exported semaphore: a timeline, or else a binary one, or else sync files."""
        if self.match is None:
            self._reject("native", "producer and consumer are not the same device")
            return None
        for kind in (SemaphoreKind.TIMELINE, SemaphoreKind.BINARY):
            lacking: list[str] = []
            found = self._reusable(kind, lacking)
            if found is None and kind is SemaphoreKind.BINARY and self._sync_files(lacking):
                found = ONE_SHOT
            if found is None or lacking:
                self._reject(f"native {kind.value} semaphore", "; ".join(lacking))
            if found is None:
                continue
            if self.apart and kind is SemaphoreKind.BINARY and self.direction is Direction.TO_PRODUCER:
                self._reject("native binary semaphore", _HELD_FOR_EVER)
                return None
            return SyncPlan(strategy=Strategy.NATIVE, kind=kind, handle_type=found)
        return None

    def _reusable(self, kind: SemaphoreKind, lacking: list[str]) -> HandleType | None:
        """Return the handle type of a reusable semaphore; if there is none, add the reasons to `lacking`."""
        exportable = self.producer.capabilities.exportable(kind)
        importable = self.consumer.capabilities.importable(kind)
        against: list[str] = []
        for handle_type in SEMAPHORE_TYPES:
            reason = missing(handle_type, exportable, importable, self.producer, self.consumer)
            reason = reason or self.veto(self.producer, self.consumer, handle_type, kind.value)
            if reason is None:
                return handle_type
            if handle_type is HandleType.OPAQUE_FD or handle_type in exportable | importable:
                against.append(f"{handle_type.value}: {reason}")
        lacking += against
        return None

    def _sync_files(self, lacking: list[str]) -> bool:
        """Whether sync files are possible. The signalling side exports them, so the direction matters."""
        kind, pair = SemaphoreKind.BINARY, (self.producer, self.consumer)
        signals, waits = pair if self.direction is Direction.TO_CONSUMER else reversed(pair)
        exportable, importable = signals.capabilities.exportable(kind), waits.capabilities.importable(kind)
        reason = missing(ONE_SHOT, exportable, importable, signals, waits)
        if reason is None:
            reason = _NOT_SENT if self.apart else self.veto(*pair, ONE_SHOT, kind.value)
        if reason is not None and ONE_SHOT in exportable | importable:
            lacking.append(f"{ONE_SHOT.value}: {reason}")
        return reason is None

    def _bridged(self) -> SyncPlan | None:
        """Return a plan in which the host relays a timeline of the producer."""
        into = self.direction is Direction.TO_CONSUMER
        capabilities = self.consumer.capabilities
        means = capabilities.stream_hold if into else capabilities.stream_notify
        if self.apart:
            reason = "producer and consumer run in different processes"
        elif not self.producer.capabilities.host_timeline:
            reason = (
                f"{self.producer.backend} has no timeline semaphore that the host can wait for and signal"
            )
        elif not means:
            verb = "be held by the host" if into else "call the host back"
            reason = f"a {self.consumer.backend} stream cannot {verb}"
        else:
            return SyncPlan(strategy=Strategy.BRIDGED, means=means)
        self._reject("bridged", reason)
        return None
