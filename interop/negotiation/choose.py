"""The choice of a plan: the memory path first, then the synchronisation of each direction."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from interop.negotiation.memory import MEMORY_TYPES, choose_memory
from interop.negotiation.plan import Direction, MemoryPath, Plan, Rejection, Strategy, SyncPlan, describe
from interop.negotiation.quirks import heed
from interop.negotiation.sync import SyncChoice
from interop.protocols import HandleType, InvalidArgument, NoCommonHandleType, NoCommonSync, as_choice

if TYPE_CHECKING:
    from interop.negotiation.candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey


def negotiate(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    match: MatchKey | None,
    *,
    sync: str = "auto",
    path: str | None = None,
    handle_type: str | None = None,
    veto: Veto | None = None,
    apart: bool = False,
) -> Plan:
    """Choose the best memory path and strategies that both devices offer. Calls no driver.

    Args:
        producer: The device that owns the memory.
        consumer: The device that imports the memory.
        match: The key that proves both to be one device; None for two devices.
        sync: `"auto"`, or the strategy of both directions: `"native"`, `"bridged"` or `"blocking"`.
        path: The memory path: `"zero-copy"` or `"staged"`. None takes the best that is possible.
        handle_type: The handle type of the memory, such as `"dma_buf"`. It implies the path `"zero-copy"`.
        veto: May exclude handle types, after the known quirks of the drivers.
        apart: Whether the two run in different processes. No host can then bridge their streams. A binary semaphore
            is then excluded where a killed process would leave a queue waiting for ever.

    Raises:
        NoCommonHandleType: The required path or handle type is not possible. Lists the reason against each.
        NoCommonSync: The required strategy is not possible. Lists the reason against each candidate.
        InvalidArgument: `sync`, `path` or `handle_type` names no choice, or two of them exclude each other.
    """
    wanted_path = None if path is None else as_choice(MemoryPath, path, "path")
    wanted_type = None
    if handle_type is not None:
        wanted_type = as_choice(HandleType, handle_type, "handle_type", among=MEMORY_TYPES)
    strategy = _wanted(sync)
    if wanted_type and wanted_path is MemoryPath.STAGED:
        msg = f"handle_type {wanted_type.value!r} excludes path='staged', because it implies zero-copy; pass one"
        raise InvalidArgument(msg)
    rule = heed(veto)
    rejected: list[Rejection] = []
    chosen = None
    if wanted_path is not MemoryPath.STAGED:
        types = (wanted_type,) if wanted_type else MEMORY_TYPES
        chosen = choose_memory(producer, consumer, match, rule, rejected, types, apart=apart)
        if chosen is None and (wanted_type or wanted_path):
            how = f" by {wanted_type.value}" if wanted_type else ""
            what = f"zero-copy memory{how} from {describe(producer)} to {describe(consumer)}"
            raise NoCommonHandleType(what, reasons=[*map(str, rejected)])
    if chosen is None:
        to_consumer = to_producer = _staged(strategy, rejected)
    else:
        make = partial(SyncChoice, producer=producer, consumer=consumer, match=match, veto=rule, apart=apart)
        choices = [make(direction=direction) for direction in Direction]
        to_consumer, to_producer = (each.choose(strategy) for each in choices)
        rejected += [reason for each in choices for reason in each.reasons]
    return Plan(
        producer=producer,
        consumer=consumer,
        match=match,
        path=MemoryPath.STAGED if chosen is None else MemoryPath.ZERO_COPY,
        handle_type=chosen,
        to_consumer=to_consumer,
        to_producer=to_producer,
        rejected=tuple(rejected),
    )


def _wanted(sync: str) -> Strategy | None:
    """Return the strategy that a caller requires; None for `"auto"`."""
    if sync == "auto":
        return None
    if sync not in tuple(Strategy):
        choices = ", ".join(repr(each.value) for each in Strategy)
        raise InvalidArgument(f"sync must be one of 'auto', {choices}, got {sync!r}")
    return Strategy(sync)


def _staged(strategy: Strategy | None, rejected: list[Rejection]) -> SyncPlan:
    """Return the synchronisation of the staged path, which blocks the caller in both directions."""
    if strategy not in (None, Strategy.BLOCKING):
        reasons = [f"the memory is staged because: {each}" for each in rejected]
        what = f"{strategy} synchronisation of staged memory"
        raise NoCommonSync(what, "a copy through host memory blocks the caller", reasons=reasons)
    return SyncPlan(strategy=Strategy.BLOCKING, means="host copy")
