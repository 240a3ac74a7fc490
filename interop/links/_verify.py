"""Verification: the handles of a plan are tried once before a link relies on them.

Drivers list abilities that they then refuse. So :func:`settle` creates, exports, imports and closes a small buffer and
the semaphores of the plan. A candidate that fails is vetoed with the driver's words, and the plan is negotiated again;
the new plan gives the reason. The signalling side exports a sync file, so each direction is tried by itself. A failure
in one direction rules sync files out for both.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

from interop.links.sync import sync_file_to_consumer, sync_file_to_producer
from interop.negotiation import Direction
from interop.protocols import ONE_SHOT, DriverError, HandleError, InteropError, Unsupported

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop.negotiation import Plan, Veto
    from interop.protocols import (
        Consumer,
        DeviceInfo,
        ExternalMemory,
        ExternalSemaphore,
        HandleType,
        Producer,
        SemaphoreKind,
    )

    Candidate = tuple[HandleType, str]
    """A handle type and what it is to carry: ``"memory"`` or the kind of a semaphore."""

SIZE = 4096
"""Bytes of the buffer that is tried."""
_REFUSALS = (DriverError, HandleError, Unsupported)


def settle(
    choose: Callable[..., Plan],
    veto: Veto,
    producer: Producer,
    consumer: Consumer,
    *,
    memory: bool,
    semaphores: bool,
) -> Plan:
    """Return the best plan of ``choose`` whose handles can be exported and imported. Nothing stays open.

    The next candidate is tried only if the failed import left the handle untouched. A driver that consumed it may
    have changed more, so its error is raised then.

    Args:
        choose: ``choose(veto=...)`` negotiates a plan.
        veto: The veto of the plugins.
        producer: The opened producer.
        consumer: The opened consumer.
        memory: Whether the handle type of memory may be replaced, and is tried.
        semaphores: Whether the semaphores may be replaced, and are tried.

    Raises:
        NoCommonHandleType: No candidate for memory is left; the error has the reason of each.
        NoCommonSync: No candidate for semaphores is left; the error has the reason of each.
    """
    failed: dict[Candidate, str] = {}
    passed: set[tuple[HandleType, str, Direction | None]] = set()

    def rule(left: DeviceInfo, right: DeviceInfo, handle_type: HandleType, purpose: str) -> str | None:
        return failed.get((handle_type, purpose)) or veto(left, right, handle_type, purpose)

    while True:
        plan = choose(veto=rule)
        for handle_type, purpose, kind, direction in _candidates(plan, memory=memory, semaphores=semaphores):
            if (handle_type, purpose, direction) in passed:
                continue
            if direction is not None:
                error = _try_sync_file(producer, consumer, direction)
            else:
                error = _try(producer, consumer, handle_type, kind)
            if error is not None:
                failed[handle_type, purpose] = f"tried, and failed: {error}"
                break
            passed.add((handle_type, purpose, direction))
        else:
            return plan


def _candidates(
    plan: Plan, *, memory: bool, semaphores: bool
) -> Iterator[tuple[HandleType, str, SemaphoreKind | None, Direction | None]]:
    if memory and plan.handle_type is not None:
        yield plan.handle_type, "memory", None, None
    if semaphores:
        for direction, sync in zip(Direction, (plan.to_consumer, plan.to_producer), strict=True):
            if sync.kind is not None and sync.handle_type is not None:
                one_way = direction if sync.handle_type is ONE_SHOT else None
                yield sync.handle_type, sync.kind.value, sync.kind, one_way


def _try(
    producer: Producer, consumer: Consumer, handle_type: HandleType, kind: SemaphoreKind | None
) -> InteropError | None:
    """Export and import one object; return the driver's refusal, or None."""
    with ExitStack() as made:
        take: Callable[[], ExternalMemory | ExternalSemaphore]
        try:
            if kind is None:
                buffer = producer.create_buffer(SIZE, export=handle_type)
                made.callback(buffer.close)
                handle, memory = buffer.export_memory()
                take = partial(consumer.import_memory, handle, memory)
            else:
                semaphore = producer.create_semaphore(kind, export=handle_type)
                made.callback(semaphore.close)
                handle, described = semaphore.export_semaphore()
                take = partial(consumer.import_semaphore, handle, described)
        except _REFUSALS as error:
            return error
        made.callback(handle.close)
        try:
            made.callback(take().close)
        except _REFUSALS as error:
            if handle.closed:
                raise
            return error
    return None


def _try_sync_file(producer: Producer, consumer: Consumer, direction: Direction) -> InteropError | None:
    """Hand one signal over, without a wait on the host; return the driver's refusal, or None."""
    with ExitStack() as made:
        try:
            if direction is Direction.TO_CONSUMER:
                there = sync_file_to_consumer(producer, consumer)
                made.callback(there.close)
                submission = producer.prepare(signal=there.ready)
                made.callback(submission.close)
                _, value = there.submit(submission, 0, signals=True)
                there.wait(consumer.stream, value)
            else:
                back = sync_file_to_producer(producer, consumer)
                made.callback(back.close)
                submission = producer.prepare(wait=back.done)
                made.callback(submission.close)
                submission.submit(back.signal(consumer.stream))
        except _REFUSALS as error:
            return error
    return None
