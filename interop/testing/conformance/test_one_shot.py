"""Signals that are handed over one at a time (``sync_fd``): taken in by the consumer, handed out by it, and misuse."""

# ruff: noqa: D103 - the name of a case says what it proves
from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import pytest

from interop.protocols import (
    ONE_SHOT,
    DriverError,
    ExportingConsumer,
    Handle,
    HandleError,
    HandleType,
    ImportingProducer,
    SemaphoreDescriptor,
    SemaphoreKind,
    TurnError,
    Unsupported,
    WaitTimeout,
)
from interop.testing._bench import pattern, same
from interop.testing.conformance._strangers import dev_null, plain_memfd

if TYPE_CHECKING:
    from interop.protocols import ConsumerSemaphore, ImportingSemaphore, ProducerSemaphore
    from interop.testing._bench import Bench

SIZE = 4096
FRAMES = 8
BINARY, TIMELINE = SemaphoreKind.BINARY, SemaphoreKind.TIMELINE
SIGNAL = SemaphoreDescriptor(kind=BINARY, handle_type=ONE_SHOT)
HELD = 0.1
"""Seconds after which a stream that has not gone on is taken to be waiting."""

taken_in = pytest.mark.interop_needs("signals-in")
handed_out = pytest.mark.interop_needs("signals-out")
both_ways = pytest.mark.interop_needs("signals-in", "signals-out")
with_memory = pytest.mark.interop_needs("zero-copy")


def theirs(bench: Bench) -> ProducerSemaphore:
    """Make a semaphore of the producer whose signals are handed out."""
    return bench.track(bench.producer.create_semaphore(BINARY, export=ONE_SHOT))


def source(bench: Bench) -> ConsumerSemaphore:
    """Make a semaphore of the consumer whose signals are handed out."""
    assert isinstance(bench.consumer, ExportingConsumer), "it says that it exports sync_fd"
    return bench.track(bench.consumer.create_semaphore(BINARY, export=ONE_SHOT))


def inlet(bench: Bench) -> ImportingSemaphore:
    """Make a semaphore of the producer that takes signals in."""
    assert isinstance(bench.producer, ImportingProducer), "it says that it imports sync_fd"
    return bench.track(bench.producer.create_importing_semaphore(ONE_SHOT))


@taken_in
@with_memory
def test_consumer_waits_for_each_signal(bench: Bench) -> None:
    semaphore = theirs(bench)
    buffer, memory = bench.share(SIZE)
    for number in range(1, FRAMES + 1):
        bench.put(buffer, pattern(SIZE, number), signal=semaphore)
        handle, descriptor = semaphore.export_semaphore()
        external = bench.consumer.import_semaphore(handle, descriptor)
        assert handle.closed
        assert external.kind is BINARY
        external.wait(bench.consumer.stream)
        external.close()  # before the wait has run: it is the driver's to keep it
        same(bench.read(memory, memory.map_buffer(size=SIZE)), pattern(SIZE, number))


@handed_out
@with_memory
def test_producer_waits_for_each_signal(bench: Bench) -> None:
    mine, into = source(bench), inlet(bench)
    buffer, memory = bench.share(SIZE)
    view = memory.map_buffer(size=SIZE)
    for number in range(1, FRAMES + 1):
        memory.acquire(bench.consumer.stream)
        view.write(pattern(SIZE, number), timeout=bench.timeout)
        memory.release(bench.consumer.stream)
        mine.signal(bench.consumer.stream)
        handle, descriptor = mine.export_semaphore()
        assert (descriptor.kind, descriptor.handle_type) == (BINARY, ONE_SHOT)
        into.import_semaphore(handle, descriptor)
        assert handle.closed
        same(bench.get(buffer, wait=cast("ProducerSemaphore", into)), pattern(SIZE, number))


@taken_in
def test_a_signal_that_has_run_is_minus_one(bench: Bench) -> None:
    external = bench.track(bench.consumer.import_semaphore(Handle.adopt(-1, ONE_SHOT), SIGNAL))
    external.wait(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)


@taken_in
def test_waits_for_signals_still_to_come(bench: Bench) -> None:
    """Several at once, none of which blocks the caller; then all run."""
    gate = bench.track(bench.producer.create_semaphore(TIMELINE))
    bench.track(bench.producer.prepare(wait=gate)).submit(1)
    semaphore = theirs(bench)
    submission = bench.track(bench.producer.prepare(signal=semaphore))
    try:
        for _ in range(FRAMES):
            submission.submit()
            external = bench.track(bench.consumer.import_semaphore(*semaphore.export_semaphore()))
            external.wait(bench.consumer.stream)
        with pytest.raises(WaitTimeout):
            bench.consumer.stream.synchronize(HELD)
    finally:
        gate.signal_host(1)
    bench.consumer.stream.synchronize(bench.timeout)


@taken_in
def test_strangers_stay_with_their_owner(bench: Bench) -> None:
    for open_file in (dev_null, plain_memfd):
        with Handle.adopt(open_file(), ONE_SHOT) as stranger:
            with pytest.raises((HandleError, DriverError)):
                bench.consumer.import_semaphore(stranger, SIGNAL)
            assert os.fstat(stranger.value)
    with Handle.adopt(plain_memfd(), HandleType.OPAQUE_FD) as other, pytest.raises(HandleError):
        bench.consumer.import_semaphore(other, SIGNAL)


@taken_in
def test_one_signal_is_waited_for_once_and_never_given(bench: Bench) -> None:
    external = bench.track(bench.consumer.import_semaphore(Handle.adopt(-1, ONE_SHOT), SIGNAL))
    with pytest.raises(TurnError):
        external.wait(bench.consumer.stream, 1)
    with pytest.raises(TurnError):
        external.signal(bench.consumer.stream)
    external.wait(bench.consumer.stream)
    with pytest.raises(TurnError):
        external.wait(bench.consumer.stream)


@handed_out
def test_one_signal_is_handed_out_once(bench: Bench) -> None:
    mine = source(bench)
    with pytest.raises(TurnError):
        mine.export_semaphore()
    with pytest.raises(TurnError):
        mine.signal(bench.consumer.stream, 1)
    mine.signal(bench.consumer.stream)
    with pytest.raises(TurnError):
        mine.signal(bench.consumer.stream)
    mine.export_semaphore()[0].close()
    with pytest.raises(TurnError):
        mine.export_semaphore()
    mine.signal(bench.consumer.stream)
    mine.close()
    mine.close()
    bench.consumer.stream.synchronize(bench.timeout)


@handed_out
def test_only_what_is_offered_is_handed_out(bench: Bench) -> None:
    consumer = bench.consumer
    assert isinstance(consumer, ExportingConsumer)
    offered = bench.consumer.device.capabilities.exportable(BINARY)
    other = next(each for each in HandleType if each not in offered)
    for kind, handle_type in ((TIMELINE, ONE_SHOT), (BINARY, other)):
        with pytest.raises(Unsupported):
            consumer.create_semaphore(kind, export=handle_type)


@both_ways
def test_a_signal_that_was_handed_out_outlives_its_semaphore(bench: Bench) -> None:
    mine = source(bench)
    mine.signal(bench.consumer.stream)
    handle, descriptor = mine.export_semaphore()
    with bench.track(handle):
        mine.close()
        bench.track(bench.consumer.import_semaphore(handle, descriptor)).wait(bench.consumer.stream)
    bench.consumer.stream.synchronize(bench.timeout)
