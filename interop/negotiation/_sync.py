"""Candidates for synchronisation: by which strategy one side's stream waits for the other's."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation._candidates import missing
from interop.negotiation.plan import Direction, Rejection, Strategy, SyncPlan
from interop.protocols import ONE_SHOT, HandleType, NoCommonSync, SemaphoreKind

if TYPE_CHECKING:
    from interop.negotiation._candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey

SEMAPHORE_TYPES = (HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT)
"""Handle types that carry a reusable semaphore, best first. After them comes :data:`interop.protocols.ONE_SHOT`."""

_NOT_SENT = "each hand-over has a descriptor of its own, which is not sent to another process"
_HELD_FOR_EVER = "a consumer process that is killed would leave the producer's queue waiting for its signal"


def choose_sync(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    match: MatchKey | None,
    direction: Direction,
    wanted: Strategy | None,
    veto: Veto,
    rejected: list[Rejection],
    *,
    apart: bool,
) -> SyncPlan:
    """Return the best strategy of one direction, or raise :class:`NoCommonSync` with the reason for each."""
    reasons: list[Rejection] = []
    for strategy in Strategy:
        if wanted is not None and strategy is not wanted:
            continue
        if strategy is Strategy.NATIVE and match is None:
            reasons.append(Rejection(f"native, {direction.value}", "the two are not the same device"))
            plan = None
        elif strategy is Strategy.NATIVE:
            plan = _native(producer, consumer, direction, veto, reasons, apart=apart)
            binary = plan is not None and plan.kind is SemaphoreKind.BINARY
            if apart and binary and direction is Direction.TO_PRODUCER:
                reasons.append(Rejection(f"native binary semaphore, {direction.value}", _HELD_FOR_EVER))
                plan = None
        elif strategy is Strategy.BRIDGED and apart:
            reasons.append(Rejection(f"bridged, {direction.value}", "the two run in different processes"))
            plan = None
        elif strategy is Strategy.BRIDGED:
            plan = _bridged(producer, consumer, direction, reasons)
        else:
            plan = SyncPlan(strategy=strategy, means="the caller waits")
        if plan is not None:
            rejected.extend(reasons)
            return plan
    what = f"{wanted} synchronisation, {direction.value}, between {producer.backend} and {consumer.backend}"
    raise NoCommonSync(what, reasons=[*map(str, reasons), *consumer.capabilities.notes])


def _native(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    direction: Direction,
    veto: Veto,
    reasons: list[Rejection],
    *,
    apart: bool,
) -> SyncPlan | None:
    for kind in (SemaphoreKind.TIMELINE, SemaphoreKind.BINARY):
        lacking: list[str] = []
        for handle_type in SEMAPHORE_TYPES:
            exportable = producer.capabilities.exportable(kind)
            importable = consumer.capabilities.importable(kind)
            reason = missing(handle_type, exportable, importable, producer, consumer)
            reason = reason or veto(producer, consumer, handle_type, kind.value)
            if reason is None:
                return SyncPlan(strategy=Strategy.NATIVE, kind=kind, handle_type=handle_type)
            if handle_type is HandleType.OPAQUE_FD or handle_type in exportable | importable:
                lacking.append(f"{handle_type.value}: {reason}")
        plan = None
        if kind is SemaphoreKind.BINARY:
            plan = _one_shot(producer, consumer, direction, veto, lacking, apart=apart)
        reasons.append(Rejection(f"native {kind.value} semaphore, {direction.value}", "; ".join(lacking)))
        if plan is not None:
            return plan
    return None


def _one_shot(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    direction: Direction,
    veto: Veto,
    lacking: list[str],
    *,
    apart: bool,
) -> SyncPlan | None:
    """Return a plan by one-shot handles, which the signalling side exports; its own, so the direction matters."""
    kind = SemaphoreKind.BINARY
    signals, waits = (producer, consumer) if direction is Direction.TO_CONSUMER else (consumer, producer)
    exportable, importable = signals.capabilities.exportable(kind), waits.capabilities.importable(kind)
    reason = missing(ONE_SHOT, exportable, importable, signals, waits)
    offered = ONE_SHOT in exportable | importable
    reason = reason or (_NOT_SENT if apart else veto(producer, consumer, ONE_SHOT, kind.value))
    if reason is None:
        return SyncPlan(strategy=Strategy.NATIVE, kind=kind, handle_type=ONE_SHOT)
    if offered:
        lacking.append(f"{ONE_SHOT.value}: {reason}")
    return None


def _bridged(
    producer: DeviceInfo, consumer: DeviceInfo, direction: Direction, reasons: list[Rejection]
) -> SyncPlan | None:
    needed = (
        consumer.capabilities.stream_hold
        if direction is Direction.TO_CONSUMER
        else consumer.capabilities.stream_notify
    )
    if not producer.capabilities.host_timeline:
        reason = f"{producer.backend} has no timeline semaphore that the host can wait on and signal"
    elif not needed:
        verb = "be held by the host" if direction is Direction.TO_CONSUMER else "call the host back"
        reason = f"a {consumer.backend} stream cannot {verb}"
    else:
        return SyncPlan(strategy=Strategy.BRIDGED, means=needed)
    reasons.append(Rejection(f"bridged, {direction.value}", reason))
    return None
