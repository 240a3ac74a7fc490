"""Which memory path and which synchronisation join two devices, and why not the others.

Pure functions over what the two drivers answered: nothing here opens, allocates or calls a driver, so every
machine can be imitated by two :class:`interop.device.DeviceInfo`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from interop.device import DeviceInfo, MatchKey
from interop.errors import DeviceMismatch, InvalidArgument, NoCommonHandleType, NoCommonSync
from interop.handles import HandleType
from interop.quirks import heed
from interop.semaphore import SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    Veto = Callable[[DeviceInfo, DeviceInfo, HandleType, str], str | None]

MEMORY_TYPES = (
    HandleType.OPAQUE_FD,
    HandleType.DMA_BUF,
    HandleType.OPAQUE_WIN32,
    HandleType.OPAQUE_WIN32_KMT,
)
"""Handle types that carry device memory, best first."""
SEMAPHORE_TYPES = (HandleType.OPAQUE_FD, HandleType.OPAQUE_WIN32, HandleType.OPAQUE_WIN32_KMT)
"""Handle types that carry a reusable semaphore, best first."""

_HELD_FOR_EVER = "a consumer process that is killed would leave the producer's queue waiting for its signal"


class Path(enum.StrEnum):
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
    path: Path
    handle_type: HandleType | None
    to_consumer: SyncPlan
    to_producer: SyncPlan
    rejected: tuple[Rejection, ...] = ()

    def explain(self) -> str:
        """Return the plan as a few lines of text for people."""
        memory = f"{self.path.value}" + (
            f" by {self.handle_type.value}" if self.handle_type else " through host memory"
        )
        lines = [
            f"producer     {_describe(self.producer)}",
            f"consumer     {_describe(self.consumer)}",
            f"same device  {'by ' + self.match.value if self.match else 'no'}",
            f"memory       {memory}",
            f"to consumer  {self.to_consumer}",
            f"to producer  {self.to_producer}",
        ]
        if self.rejected:
            lines += ["not chosen", *(f"  - {rejection}" for rejection in self.rejected)]
        return "\n".join(lines)


def _describe(device: DeviceInfo) -> str:
    tags = [
        tag
        for tag in ("software" if device.software else "", device.layered and f"on {device.layered}")
        if tag
    ]
    return f"{device.backend}: {device.name}" + (f" ({', '.join(tags)})" if tags else "")


def select_devices(
    producers: Sequence[DeviceInfo],
    consumers: Sequence[DeviceInfo],
    *,
    producer_choice: int | str | None = None,
    consumer_choice: int | str | None = None,
    allow_mismatch: bool = False,
) -> tuple[DeviceInfo, DeviceInfo, MatchKey | None]:
    """Choose a pair that is proved to be one device; hardware before software, then the drivers' own order.

    A choice is an index, or a text that the device's name, uuid or PCI address contains. Both choices
    together vouch for the pair (:attr:`MatchKey.CHOICE`), unless LUIDs or PCI addresses disprove it. A consumer
    that is nothing but the host's processor needs no match, because staging reaches any producer. Raises
    :class:`InvalidArgument` for a choice that fits nothing, :class:`DeviceMismatch` naming both when no pair
    matches.
    """
    left = _chosen(producers, producer_choice)
    right = _chosen(consumers, consumer_choice)
    pairs = sorted(
        ((p, c) for p in left for c in right), key=lambda pair: (pair[0].software, pair[1].software)
    )
    for producer, consumer in pairs:
        key = producer.identity.match(consumer.identity)
        if key is not None:
            return producer, consumer, key
    producer, consumer = pairs[0]
    vouched = producer_choice is not None and consumer_choice is not None
    if vouched and not producer.identity.disproves(consumer.identity):
        return producer, consumer, MatchKey.CHOICE
    on_host = next((pair for pair in pairs if pair[1].identity.host and not pair[1].identity.uuids), None)
    if on_host is not None:
        return *on_host, None
    if allow_mismatch:
        return producer, consumer, None
    reason = f"producer and consumer are not the same device: {producer.identity.compare(consumer.identity)}"
    raise DeviceMismatch("; ".join(map(str, left)), "; ".join(map(str, right)), reason)


def _chosen(devices: Sequence[DeviceInfo], choice: int | str | None) -> Sequence[DeviceInfo]:
    if choice is None:
        return devices
    if isinstance(choice, int):
        found = [device for device in devices if device.index == choice]
    else:
        wanted = choice.casefold()
        found = [device for device in devices if wanted in str(device).casefold()]
    if not found:
        names = "; ".join(map(str, devices))
        msg = f"no device fits {choice!r}; there are: {names}"
        raise InvalidArgument(msg)
    return found


def negotiate(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    match: MatchKey | None,
    *,
    sync: str = "auto",
    require: str | None = None,
    handle_type: str | None = None,
    veto: Veto | None = None,
    apart: bool = False,
) -> Plan:
    """Choose the best path and strategies that both devices offer.

    ``sync`` forces one strategy for both directions, ``require`` one path (``"zero-copy"`` or
    ``"staged"``), ``handle_type`` how the memory travels, which means zero-copy. Known quirks of the drivers
    (:mod:`interop.quirks`), then ``veto(producer, consumer, handle_type, purpose)``, may rule handle types
    out with a reason. ``apart`` says that the two run in different processes, where no host can relay and where
    a binary semaphore that only a process now dead could have signalled holds a queue for ever. Raises
    :class:`NoCommonHandleType` or :class:`NoCommonSync` with the reason for each candidate,
    :class:`InvalidArgument` for a strategy or path that does not exist.
    """
    wanted_path = _one_of(Path, require, "path") if require is not None else None
    wanted_sync = _one_of(Strategy, sync, "synchronisation strategy") if sync != "auto" else None
    wanted_type = _one_of(HandleType, handle_type, "handle type") if handle_type is not None else None
    if wanted_type and (wanted_path is Path.STAGED or wanted_type not in MEMORY_TYPES):
        msg = f"{wanted_type.value} carries no {wanted_path or Path.ZERO_COPY} memory"
        raise InvalidArgument(msg + f"; use one of: {', '.join(MEMORY_TYPES)}, and no staged path")
    rule = heed(veto)
    rejected: list[Rejection] = []
    chosen = None
    if wanted_path is not Path.STAGED:
        types = (wanted_type,) if wanted_type else MEMORY_TYPES
        chosen = _memory(producer, consumer, match, rule, rejected, types)
        if chosen is None and (wanted_type or wanted_path):
            how = f" by {wanted_type.value}" if wanted_type else ""
            what = f"zero-copy memory{how} from {_describe(producer)} to {_describe(consumer)}"
            raise NoCommonHandleType(what, reasons=[str(rejection) for rejection in rejected])
    if chosen is None:
        if wanted_sync not in (None, Strategy.BLOCKING):
            what = f"{wanted_sync} synchronisation of staged memory"
            raise NoCommonSync(
                what, "a copy through host memory blocks the caller", reasons=list(map(str, rejected))
            )
        staged = SyncPlan(strategy=Strategy.BLOCKING, means="host copy")
        return Plan(
            producer=producer,
            consumer=consumer,
            match=match,
            path=Path.STAGED,
            handle_type=None,
            to_consumer=staged,
            to_producer=staged,
            rejected=tuple(rejected),
        )
    sync_plans = [
        _sync(producer, consumer, direction, wanted_sync, rule, rejected, apart=apart)
        for direction in Direction
    ]
    return Plan(
        producer=producer,
        consumer=consumer,
        match=match,
        path=Path.ZERO_COPY,
        handle_type=chosen,
        to_consumer=sync_plans[0],
        to_producer=sync_plans[1],
        rejected=tuple(rejected),
    )


_Choice = TypeVar("_Choice", Path, Strategy, HandleType)


def _one_of(kind: type[_Choice], value: str, what: str) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        msg = f"no such {what}: {value!r}; use one of: {', '.join(kind)}"
        raise InvalidArgument(msg) from error


def _memory(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    match: MatchKey | None,
    veto: Veto,
    rejected: list[Rejection],
    types: Sequence[HandleType],
) -> HandleType | None:
    if match is None:
        rejected.append(Rejection("zero-copy", "the two are not the same device"))
        return None
    chosen = None
    for handle_type in types:
        reason = _missing(
            handle_type,
            producer.capabilities.memory_export,
            consumer.capabilities.memory_import,
            producer,
            consumer,
        ) or veto(producer, consumer, handle_type, "memory")
        if reason is None and chosen is None:
            chosen = handle_type
        elif reason and (len(types) == 1 or not _is_foreign(handle_type, producer, consumer)):
            rejected.append(Rejection(f"memory by {handle_type.value}", reason))
    if chosen is None:
        notes = [*producer.capabilities.notes, *consumer.capabilities.notes]
        rejected.extend(Rejection("zero-copy", note) for note in notes)
    return chosen


def _is_foreign(handle_type: HandleType, producer: DeviceInfo, consumer: DeviceInfo) -> bool:
    """Whether neither side has ever heard of this type here, so that naming it would be noise."""
    known: set[HandleType] = set()
    for capabilities in (producer.capabilities, consumer.capabilities):
        known |= capabilities.memory_export | capabilities.memory_import
    return not handle_type.is_fd and handle_type not in known


def _missing(
    handle_type: HandleType,
    exportable: Iterable[HandleType],
    importable: Iterable[HandleType],
    producer: DeviceInfo,
    consumer: DeviceInfo,
) -> str | None:
    lacking = [
        text
        for types, text in (
            (exportable, f"{producer.backend} does not export it"),
            (importable, f"{consumer.backend} does not import it"),
        )
        if handle_type not in types
    ]
    return " and ".join(lacking) or None


def _sync(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    direction: Direction,
    wanted: Strategy | None,
    veto: Veto,
    rejected: list[Rejection],
    *,
    apart: bool,
) -> SyncPlan:
    reasons: list[Rejection] = []
    for strategy in Strategy:
        if wanted is not None and strategy is not wanted:
            continue
        if strategy is Strategy.NATIVE:
            plan = _native(producer, consumer, direction, veto, reasons)
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
) -> SyncPlan | None:
    for kind in (SemaphoreKind.TIMELINE, SemaphoreKind.BINARY):
        lacking: list[str] = []
        for handle_type in SEMAPHORE_TYPES:
            exportable = producer.capabilities.exportable(kind)
            importable = consumer.capabilities.importable(kind)
            reason = _missing(handle_type, exportable, importable, producer, consumer)
            reason = reason or veto(producer, consumer, handle_type, kind.value)
            if reason is None:
                return SyncPlan(strategy=Strategy.NATIVE, kind=kind, handle_type=handle_type)
            if handle_type is HandleType.OPAQUE_FD or handle_type in exportable | importable:
                lacking.append(f"{handle_type.value}: {reason}")
        reasons.append(Rejection(f"native {kind.value} semaphore, {direction.value}", "; ".join(lacking)))
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
