"""Trying what was negotiated before a link rests on it, and falling through to the next best where it fails.

Drivers offer what they then refuse. So the memory and the semaphores of a plan are made, exported, imported and
closed once, at their smallest; a candidate that fails is vetoed with the driver's words, and the rest is negotiated
again. The plan that comes of it says why each failed candidate was left. A one-shot handle is exported by whoever
signals, so each direction is tried by itself, and what fails in one is not relied on in the other either.
"""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

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
    """Return the best plan of ``choose`` whose handles can in fact be exported and imported.

    ``choose(veto=...)`` negotiates; ``memory`` and ``semaphores`` say what may fall through to another candidate, and
    only that is tried. Leaves nothing open. The next candidate is tried only while the handle of the one before is
    still ours: where a failed import has consumed it, nobody knows what else it did, and the driver's error is
    raised. Raises what ``choose`` raises once nothing is left, with the reason for each.
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
                error = _try_one_shot(producer, consumer, direction)
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
    """Export and import one object; return what was refused, or None."""
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


def _try_one_shot(producer: Producer, consumer: Consumer, direction: Direction) -> InteropError | None:
    """Hand one signal over, without waiting for it on the host; return what was refused, or None."""
    from interop.links.sync import OneShotToConsumer, OneShotToProducer

    with ExitStack() as made:
        try:
            if direction is Direction.TO_CONSUMER:
                there = OneShotToConsumer(producer, consumer)
                made.callback(there.close)
                submission = producer.prepare(signal=there.semaphore)
                made.callback(submission.close)
                point = there.submitted(submission.submit(), signalled=True)
                there.wait(consumer.stream, point)
            else:
                back = OneShotToProducer(producer, consumer)
                made.callback(back.close)
                submission = producer.prepare(wait=back.semaphore)
                made.callback(submission.close)
                submission.submit(back.signal(consumer.stream))
        except _REFUSALS as error:
            return error
    return None
