"""The choice itself: memory first, then how each direction is ordered."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from interop.negotiation._memory import MEMORY_TYPES, choose_memory
from interop.negotiation._sync import choose_sync
from interop.negotiation.plan import Direction, MemoryPath, Plan, Rejection, Strategy, SyncPlan, describe
from interop.negotiation.quirks import heed
from interop.protocols import HandleType, InvalidArgument, NoCommonHandleType, NoCommonSync

if TYPE_CHECKING:
    from interop.negotiation._candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey


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
    (:mod:`interop.negotiation.quirks`), then ``veto(producer, consumer, handle_type, purpose)``, may rule handle types
    out with a reason. ``apart`` says that the two run in different processes, where no host can relay and where
    a binary semaphore that only a process now dead could have signalled holds a queue for ever. Raises
    :class:`NoCommonHandleType` or :class:`NoCommonSync` with the reason for each candidate,
    :class:`InvalidArgument` for a strategy or path that does not exist.
    """
    wanted_path = _one_of(MemoryPath, require, "path") if require is not None else None
    wanted_sync = _one_of(Strategy, sync, "synchronisation strategy") if sync != "auto" else None
    wanted_type = _one_of(HandleType, handle_type, "handle type") if handle_type is not None else None
    if wanted_type and (wanted_path is MemoryPath.STAGED or wanted_type not in MEMORY_TYPES):
        msg = f"{wanted_type.value} carries no {wanted_path or MemoryPath.ZERO_COPY} memory"
        raise InvalidArgument(msg + f"; use one of: {', '.join(MEMORY_TYPES)}, and no staged path")
    rule = heed(veto)
    rejected: list[Rejection] = []
    chosen = None
    if wanted_path is not MemoryPath.STAGED:
        types = (wanted_type,) if wanted_type else MEMORY_TYPES
        chosen = choose_memory(producer, consumer, match, rule, rejected, types, apart=apart)
        if chosen is None and (wanted_type or wanted_path):
            how = f" by {wanted_type.value}" if wanted_type else ""
            what = f"zero-copy memory{how} from {describe(producer)} to {describe(consumer)}"
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
            path=MemoryPath.STAGED,
            handle_type=None,
            to_consumer=staged,
            to_producer=staged,
            rejected=tuple(rejected),
        )
    sync_plans = [
        choose_sync(producer, consumer, match, direction, wanted_sync, rule, rejected, apart=apart)
        for direction in Direction
    ]
    return Plan(
        producer=producer,
        consumer=consumer,
        match=match,
        path=MemoryPath.ZERO_COPY,
        handle_type=chosen,
        to_consumer=sync_plans[0],
        to_producer=sync_plans[1],
        rejected=tuple(rejected),
    )


_Choice = TypeVar("_Choice", MemoryPath, Strategy, HandleType)


def _one_of(kind: type[_Choice], value: str, what: str) -> _Choice:
    try:
        return kind(value)
    except ValueError as error:
        msg = f"no such {what}: {value!r}; use one of: {', '.join(kind)}"
        raise InvalidArgument(msg) from error
