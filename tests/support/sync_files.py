"""Hand-overs by sync files, below and through a link: run in fresh processes by the contract tests."""

from __future__ import annotations

import os
import threading
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import frames
import pytest

import interop
from interop import HandleError, HandleType, TurnError, Unsupported, WaitTimeout
from interop.protocols import Handle, SemaphoreDescriptor, SemaphoreKind
from interop.testing import leaks
from interop.testing.conformance._strangers import dev_null, plain_memfd

if TYPE_CHECKING:
    from collections.abc import Generator

SYNC_FD = HandleType.SYNC_FD
SIGNAL = SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=SYNC_FD)


def ignore(what: str) -> None:
    """Break the framework: what waits on one side has no effect from now on."""
    from interop_opencl.semaphore import OneShotSemaphore
    from interop_vulkan._signal_inlet import SignalInlet

    if what == "consumer":
        OneShotSemaphore.wait = lambda *_: None  # type: ignore[method-assign]
    if what == "producer":
        original = SignalInlet.import_semaphore

        def at_once(self: SignalInlet, handle: Handle, descriptor: SemaphoreDescriptor) -> None:
            handle.close()
            original(self, Handle.adopt(-1, SYNC_FD), descriptor)

        SignalInlet.import_semaphore = at_once  # type: ignore[method-assign]


def behind_a_held_stream(seconds: float) -> bool:
    """Stop the consumer's stream for a time, enqueue a frame behind it; return whether it came out wrong."""
    with interop.connect(consumer="opencl", sync="native") as link:
        bench = frames.Bench(link)
        bench.run(range(frames.BATCH))
        stream = link.consumer.stream
        stream.hold(1)
        opener = threading.Timer(seconds, stream.release, [1])
        opener.start()
        bench.enqueue(0)
        opener.join()
        link.synchronize()
        wrong = bench.wrong(0)
        bench.close()
    return wrong


def waits(broken: str, seconds: float) -> dict[str, bool]:
    """Tell which side's work comes out wrong when the other is held, with one side's waits broken or none."""
    ignore(broken)
    held = frames.behind_a_held_queue("opencl", "native", seconds)
    return {"consumer": held["wrong"], "producer": behind_a_held_stream(seconds)}


@contextmanager
def opened() -> Generator[tuple[Any, Any]]:
    """Open both sides; what a test leaves open fails it."""
    with interop.connect(consumer="opencl", sync="native") as link:
        bench = frames.Bench(link)  # drivers start threads at first use, and keep them
        assert not bench.run(range(frames.BATCH))
        bench.close()
        before = leaks.snapshot()
        yield link.producer, link.consumer
        left = leaks.leaked_since(before)
        assert not left, left


def signalled(producer: Any) -> tuple[Handle, SemaphoreDescriptor]:
    """Have the producer's queue signal, and return the sync file."""
    with ExitStack() as made:
        semaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=SYNC_FD)
        made.callback(semaphore.close)
        submission = producer.prepare(signal=semaphore)
        made.callback(submission.close)
        submission.submit()
        found: tuple[Handle, SemaphoreDescriptor] = semaphore.export_semaphore()
        return found


def a_signal_that_has_run() -> None:
    """-1 stands for it on both sides: given by the program, and by a driver."""
    with opened() as (producer, consumer):
        stream = consumer.stream
        taken = consumer.import_semaphore(Handle.adopt(-1, SYNC_FD), SIGNAL)
        taken.wait(stream)
        taken.close()
        stream.synchronize(5.0)
        inlet = producer.create_importing_semaphore(SYNC_FD)
        submission = producer.prepare(wait=inlet)
        source = consumer.create_semaphore(SemaphoreKind.BINARY, export=SYNC_FD)
        for _ in range(3):
            inlet.import_semaphore(Handle.adopt(-1, SYNC_FD), SIGNAL)
            submission.submit()
            producer.wait_idle(5.0)
            source.signal(stream)
            stream.synchronize(5.0)
            handle, descriptor = source.export_semaphore()
            assert handle.value == -1, "the driver knows that this one has run"
            inlet.import_semaphore(handle, descriptor)
            submission.submit()
            producer.wait_idle(5.0)
        for each in (submission, inlet, source):
            each.close()


def many_in_flight() -> None:
    """Signals of both sides taken in while none of the waits can pass; then they all do."""
    with opened() as (producer, consumer), ExitStack() as made:
        gate = producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = producer.prepare(wait=gate)
        stop.submit(1)
        for _ in range(8):
            taken = consumer.import_semaphore(*signalled(producer))
            taken.wait(consumer.stream)
            taken.close()
        source = consumer.create_semaphore(SemaphoreKind.BINARY, export=SYNC_FD)
        inlet = producer.create_importing_semaphore(SYNC_FD)
        submission = producer.prepare(wait=inlet)
        imported: list[Any] = []
        for _ in range(8):
            source.signal(consumer.stream)
            inlet.import_semaphore(*source.export_semaphore())
            imported.append(inlet.native)
            submission.submit()
        # VUID-vkImportSemaphoreFdKHR-semaphore-01142, which the validation layer (1.3.239) does not look for.
        assert len(set(imported)) == len(imported)
        for each in (source, inlet, submission, stop):
            made.callback(each.close)
        with pytest.raises(WaitTimeout):
            consumer.stream.synchronize(0.1)
        with pytest.raises(WaitTimeout):
            producer.wait_idle(0.1)
        gate.signal_host(1)
        consumer.stream.synchronize(5.0)
        producer.wait_idle(5.0)
        gate.close()


def what_is_no_sync_file() -> None:
    """Refused by both drivers, and the caller's still."""
    with opened() as (producer, consumer):
        inlet = producer.create_importing_semaphore(SYNC_FD)
        for open_file in (dev_null, plain_memfd):
            for take in (inlet.import_semaphore, consumer.import_semaphore):
                with Handle.adopt(open_file(), SYNC_FD) as handle:
                    with pytest.raises(HandleError):
                        take(handle, SIGNAL)
                    assert os.fstat(handle.value)
        inlet.close()


def misuse() -> None:
    """What drivers answer with a hang is an error before they are called."""
    with opened() as (producer, consumer):
        stream = consumer.stream
        semaphore = producer.create_semaphore(SemaphoreKind.BINARY, export=SYNC_FD)
        with pytest.raises(TurnError, match="submit one"):
            semaphore.export_semaphore()
        submission = producer.prepare(signal=semaphore)
        submission.submit()
        with pytest.raises(TurnError, match="last signal"):
            submission.submit()
        taken = consumer.import_semaphore(*semaphore.export_semaphore())
        with pytest.raises(TurnError, match="other side"):
            taken.signal(stream)
        taken.wait(stream)
        with pytest.raises(TurnError, match="import the next one"):
            taken.wait(stream)
        source = consumer.create_semaphore(SemaphoreKind.BINARY, export=SYNC_FD)
        with pytest.raises(TurnError, match="signal first"):
            source.export_semaphore()
        source.signal(stream)
        with pytest.raises(TurnError, match="export the last signal"):
            source.signal(stream)
        with pytest.raises(TurnError, match="cannot wait"):
            source.wait(stream)
        inlet = producer.create_importing_semaphore(SYNC_FD)
        waiting = producer.prepare(wait=inlet)
        with pytest.raises(TurnError, match="no signal to wait for"):
            waiting.submit()
        inlet.import_semaphore(*source.export_semaphore())
        with Handle.adopt(-1, SYNC_FD) as again, pytest.raises(TurnError, match="no submission has waited"):
            inlet.import_semaphore(again, SIGNAL)
        waiting.submit()
        for kind, handle_type in (
            (SemaphoreKind.TIMELINE, SYNC_FD),
            (SemaphoreKind.BINARY, HandleType.OPAQUE_FD),
        ):
            with pytest.raises(Unsupported):
                consumer.create_semaphore(kind, export=handle_type)
        with pytest.raises(Unsupported):
            producer.create_importing_semaphore(HandleType.OPAQUE_FD)
        stream.synchronize(5.0)
        producer.wait_idle(5.0)
        for each in (taken, source, inlet, submission, waiting, semaphore):
            each.close()


def fallen_through() -> dict[str, Any]:
    """Connect where sync files are offered and refused; run frames by what is left."""
    with interop.connect(consumer="opencl") as link:
        bench = frames.Bench(link)
        wrong = bench.run(range(3 * frames.BATCH))
        bench.close()
        plan = [link.plan.to_consumer.strategy.value, link.plan.to_producer.strategy.value]
        return {"plan": plan, "wrong": wrong, "explanation": link.explain()}
