"""Semaphores of the producer, imported by the consumer: who waits for whom, and misuse."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from interop.protocols import (
    ClosedError,
    DriverError,
    Handle,
    HandleError,
    HandleType,
    InteropError,
    InvalidArgument,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    WaitTimeout,
)
from interop.testing._bench import pattern, same
from interop.testing.conformance._strangers import dev_null, event, plain_memfd

if TYPE_CHECKING:
    from interop.protocols import ExternalSemaphore, ProducerSemaphore
    from interop.testing._bench import Bench

SIZE = 4096
HELD = 0.1
"""Seconds after which a stream that has not gone on is taken to be waiting."""
PROMPT = 2.0
"""Seconds within which a call that must not block has to return, on the slowest machine."""

BINARY, TIMELINE = SemaphoreKind.BINARY, SemaphoreKind.TIMELINE
every_kind = pytest.mark.parametrize("kind", [BINARY, TIMELINE], ids=str)
binary = pytest.mark.parametrize("kind", [BINARY], ids=str)
timeline = pytest.mark.parametrize("kind", [TIMELINE], ids=str)


def make(bench: Bench, kind: SemaphoreKind) -> tuple[ProducerSemaphore, Handle, SemaphoreDescriptor]:
    """Make a semaphore and export it."""
    semaphore = bench.track(bench.producer.create_semaphore(kind, export=bench.pair.semaphore_type(kind)))
    handle, descriptor = semaphore.export_semaphore()
    return semaphore, bench.track(handle), descriptor


def share(bench: Bench, kind: SemaphoreKind) -> tuple[ProducerSemaphore, ExternalSemaphore]:
    """Make a semaphore that both sides have."""
    semaphore, handle, descriptor = make(bench, kind)
    return semaphore, bench.track(bench.consumer.import_semaphore(handle, descriptor))


def value(kind: SemaphoreKind, number: int) -> int | None:
    """What the consumer passes for the ``number``-th signal."""
    return number if kind is TIMELINE else None


@every_kind
def test_success_consumes_the_handle(bench: Bench, kind: SemaphoreKind) -> None:
    _, handle, descriptor = make(bench, kind)
    external = bench.track(bench.consumer.import_semaphore(handle, descriptor))
    assert handle.closed
    assert external.kind is kind
    external.close()
    external.close()
    with pytest.raises((ClosedError, HandleError)):
        bench.consumer.import_semaphore(handle, descriptor)


@every_kind
def test_bad_handles_stay_with_their_owner(bench: Bench, kind: SemaphoreKind) -> None:
    _, handle, descriptor = make(bench, kind)
    other = next(candidate for candidate in HandleType if candidate is not handle.type)
    with pytest.raises(HandleError):
        bench.consumer.import_semaphore(handle, replace(descriptor, handle_type=other))
    assert not handle.closed
    if not handle.type.is_fd:
        return
    for open_file in (dev_null, event, plain_memfd):
        with Handle.adopt(open_file(), handle.type) as stranger:
            before = os.fstat(stranger.value)
            with pytest.raises((HandleError, DriverError)):
                bench.consumer.import_semaphore(stranger, descriptor)
            assert not stranger.closed
            assert os.fstat(stranger.value).st_ino == before.st_ino
    bench.track(bench.consumer.import_semaphore(handle, descriptor))


def test_type_that_cannot_be_imported(bench: Bench) -> None:
    """What the capabilities do not name is refused before a driver sees it; one that took it would hang."""
    exports = bench.producer.device.capabilities.exportable(BINARY)
    for declared in (BINARY, TIMELINE):
        offered = bench.consumer.device.capabilities.importable(declared)
        other = next(candidate for candidate in HandleType if candidate not in offered)
        if other in exports:  # a good one, of which only the kind is a lie: no driver can tell
            handle, _ = bench.track(bench.producer.create_semaphore(BINARY, export=other)).export_semaphore()
        else:
            handle = Handle.adopt(plain_memfd() if other.is_fd else SIZE, other)
        with handle:
            wrong = SemaphoreDescriptor(kind=declared, handle_type=other)
            with pytest.raises(InteropError):
                bench.consumer.import_semaphore(handle, wrong)
            assert not handle.closed


@every_kind
def test_a_stream_of_another_consumer_is_refused(bench: Bench, kind: SemaphoreKind) -> None:
    _, external = share(bench, kind)
    stranger: Any = object()
    for call in (external.wait, external.signal):
        with pytest.raises(InvalidArgument):
            call(stranger, value(kind, 1))
    external.signal(bench.consumer.stream, value(kind, 1))
    external.wait(bench.consumer.stream, value(kind, 1))
    bench.consumer.stream.synchronize(bench.timeout)


@every_kind
@pytest.mark.interop_needs("zero-copy")
def test_memory_is_no_semaphore(bench: Bench, kind: SemaphoreKind) -> None:
    _, handle, descriptor = bench.export(SIZE)
    wrong = SemaphoreDescriptor(kind=kind, handle_type=handle.type, device=descriptor.device)
    try:
        accepted = bench.consumer.import_semaphore(handle, wrong)
    except (HandleError, DriverError):
        assert not handle.closed
    else:  # NVIDIA's drivers (580) take it, and nothing tells the two apart before use
        assert handle.closed
        accepted.close()


@every_kind
@pytest.mark.interop_needs("zero-copy")
def test_consumer_waits_for_the_producer(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, external = share(bench, kind)
    buffer, memory = bench.share(SIZE)
    for number in range(1, 9):
        bench.put(buffer, pattern(SIZE, number), signal=semaphore, value=number)
        external.wait(bench.consumer.stream, value(kind, number))
        same(bench.read(memory, memory.map_buffer(size=SIZE)), pattern(SIZE, number))


@every_kind
@pytest.mark.interop_needs("zero-copy")
def test_producer_waits_for_the_consumer(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, external = share(bench, kind)
    buffer, memory = bench.share(SIZE)
    view = memory.map_buffer(size=SIZE)
    for number in range(1, 9):
        memory.acquire(bench.consumer.stream)
        view.write(pattern(SIZE, number), timeout=bench.timeout)
        memory.release(bench.consumer.stream)
        external.signal(bench.consumer.stream, value(kind, number))
        same(bench.get(buffer, wait=semaphore, value=number), pattern(SIZE, number))


@every_kind
def test_wait_does_not_block_the_caller(bench: Bench, kind: SemaphoreKind) -> None:
    """The consumer enqueues its wait first; the producer signals later."""
    semaphore, external = share(bench, kind)
    stream = bench.consumer.stream
    start = time.monotonic()
    external.wait(stream, value(kind, 1))
    stream.flush()
    assert time.monotonic() - start < PROMPT
    with pytest.raises(WaitTimeout):
        stream.synchronize(HELD)
    bench.track(bench.producer.prepare(signal=semaphore)).submit(signal_value=1)
    stream.synchronize(bench.timeout)


@every_kind
def test_two_imports_mean_one_semaphore(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, first = share(bench, kind)
    handle, descriptor = semaphore.export_semaphore()
    with handle:
        second = bench.track(bench.consumer.import_semaphore(handle, descriptor))
    first.signal(bench.consumer.stream, value(kind, 1))
    second.wait(bench.consumer.stream, value(kind, 1))
    bench.consumer.stream.synchronize(bench.timeout)
    first.close()
    second.signal(bench.consumer.stream, value(kind, 2))
    bench.track(bench.producer.prepare(wait=semaphore)).submit(wait_value=2)
    bench.producer.wait_idle(bench.timeout)


@binary
def test_a_binary_wait_takes_the_signal_back(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, external = share(bench, kind)
    submission = bench.track(bench.producer.prepare(signal=semaphore))
    submission.submit()
    external.wait(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)
    external.wait(bench.consumer.stream)
    with pytest.raises(WaitTimeout):
        bench.consumer.stream.synchronize(HELD)
    submission.submit()
    bench.consumer.stream.synchronize(bench.timeout)


@timeline
@pytest.mark.parametrize(("waited", "signalled"), [(2, 2), (2, 3), (3, 2)])
def test_a_timeline_wait_passes_from_its_value_on(
    bench: Bench, kind: SemaphoreKind, waited: int, signalled: int
) -> None:
    semaphore, external = share(bench, kind)
    stream = bench.consumer.stream
    external.wait(stream, waited)
    semaphore.signal_host(signalled)
    if signalled < waited:
        with pytest.raises(WaitTimeout):
            stream.synchronize(HELD)
        semaphore.signal_host(waited)
    stream.synchronize(bench.timeout)
    assert semaphore.counter() == max(waited, signalled)


@timeline
def test_a_timeline_wait_may_be_repeated(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, external = share(bench, kind)
    external.signal(bench.consumer.stream, 5)
    for waited in (5, 5, 1, 0):
        external.wait(bench.consumer.stream, waited)
    bench.consumer.stream.synchronize(bench.timeout)
    assert semaphore.wait_host(5, bench.timeout)
    assert semaphore.counter() == 5  # noqa: PLR2004 - as signalled


@binary
@pytest.mark.parametrize("number", [0, 1])
def test_a_binary_semaphore_takes_no_value(bench: Bench, kind: SemaphoreKind, number: int) -> None:
    _, external = share(bench, kind)
    with pytest.raises(TurnError):
        external.wait(bench.consumer.stream, number)
    with pytest.raises(TurnError):
        external.signal(bench.consumer.stream, number)
    external.signal(bench.consumer.stream)
    external.wait(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)


@timeline
def test_a_timeline_needs_values_that_grow(bench: Bench, kind: SemaphoreKind) -> None:
    _, external = share(bench, kind)
    stream = bench.consumer.stream
    for wrong in (None, -1, 2**64):
        with pytest.raises(TurnError):
            external.wait(stream, wrong)
        with pytest.raises(TurnError):
            external.signal(stream, wrong)
    external.signal(stream, 3)
    for wrong in (3, 2, 0):
        with pytest.raises(TurnError):
            external.signal(stream, wrong)
    external.signal(stream, 4)
    external.wait(stream, 4)
    stream.synchronize(bench.timeout)


@every_kind
def test_use_after_close(bench: Bench, kind: SemaphoreKind) -> None:
    _, external = share(bench, kind)
    external.close()
    with pytest.raises(ClosedError):
        external.wait(bench.consumer.stream, value(kind, 1))
    with pytest.raises(ClosedError):
        external.signal(bench.consumer.stream, value(kind, 1))


@every_kind
def test_import_outlives_the_producers_semaphore(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, external = share(bench, kind)
    semaphore.close()
    external.signal(bench.consumer.stream, value(kind, 1))
    external.wait(bench.consumer.stream, value(kind, 1))
    bench.consumer.stream.synchronize(bench.timeout)


@every_kind
def test_two_streams_are_ordered(bench: Bench, kind: SemaphoreKind) -> None:
    _, external = share(bench, kind)
    first, second = bench.consumer.stream, bench.track(bench.consumer.create_stream())
    for number in range(1, 17):
        external.wait(second, value(kind, number))
        external.signal(first, value(kind, number))
        second.synchronize(bench.timeout)
    first.synchronize(bench.timeout)


@every_kind
def test_many_cycles_leave_nothing(bench: Bench, kind: SemaphoreKind) -> None:
    semaphore, handle, descriptor = make(bench, kind)
    handle.close()
    for number in range(1, 51):
        handle, descriptor = semaphore.export_semaphore()
        with handle:
            external = bench.consumer.import_semaphore(handle, descriptor)
        external.signal(bench.consumer.stream, value(kind, number))
        external.wait(bench.consumer.stream, value(kind, number))
        bench.consumer.stream.synchronize(bench.timeout)
        external.close()
