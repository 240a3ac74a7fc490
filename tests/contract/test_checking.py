"""Checked links on real drivers: right programs pass untouched, wrong ones stop before the driver does wrong."""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

import fresh
import numpy as np
import pytest
import software
from frames import BATCH, Bench

import interop
from interop import ClosedMisuse, Misuse, NoCommonSync
from interop.protocols import SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

CONSUMERS = ("numpy", "opencl", "hip")


@pytest.fixture(params=CONSUMERS)
def link(request: pytest.FixtureRequest) -> Iterator[Any]:
    made = interop.connect(consumer=request.param, check=True)
    yield made
    made.close()


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_frames_run_as_without_checks(consumer: str, sync: str) -> None:
    if (consumer, sync) == ("numpy", "native"):
        with pytest.raises(NoCommonSync):
            interop.connect(consumer=consumer, sync=sync, check=True)
        return
    with interop.connect(consumer=consumer, sync=sync, check=True) as link:
        bench = Bench(link)
        assert bench.run(range(2 * BATCH)) == 0
        bench.close()


def test_parts_of_one_allocation_have_turns_of_their_own(link: Any) -> None:
    first, second = link.buffers((64, "uint32"), (64, "uint32"))
    for each, value in ((first, 1), (second, 2)):  # the second's work comes after the first's
        with link.producer_turn(each) as commands:
            commands.fill(each, value)
    for each, value in ((first, 1), (second, 2)):
        found = np.zeros(64, np.uint32)
        with link.consumer_turn(each) as view:
            view.read(found)
        assert (found == value).all()
        with pytest.raises(Misuse, match="outside a turn"):
            view.read(found)


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_ring_runs_as_without_checks(consumer: str) -> None:
    with interop.connect(consumer=consumer, check=True) as link:
        ring = link.ring(64, "uint32", slots=8, batch=2)
        for batch in ring.batches(20):
            with batch.producer() as commands:
                for frame, slot in batch:
                    commands.fill(slot, frame)
            with batch.consumer() as views:
                found = np.zeros(64, np.uint32)
                views[0].read(found)
                assert (found == batch.first).all()
        slot = ring.slots[0]
        with pytest.raises(Misuse, match="has not acquired it"):
            slot.view.read(bytearray(256))


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_staged_memory_is_checked_too(consumer: str) -> None:
    with interop.connect(consumer=consumer, path="staged", check=True) as link:
        buffer = link.buffer(16, "uint32")
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 3)
        found = np.zeros(16, np.uint32)
        with link.consumer_turn(buffer) as view:
            view.read(found)
        assert (found == 3).all()
        with pytest.raises(Misuse, match="outside a turn"):
            view.read(found)


def test_a_kernel_on_memory_outside_its_turn_is_not_launched(link: Any) -> None:
    buffer = link.buffer(16, "uint32")
    source = "KERNEL void set(GLOBAL_MEM unsigned int *data) { data[GLOBAL_ID(0)] = 7; }"
    module = link.consumer.compile(source)
    kernel = module.kernel("set")
    with link.consumer_turn(buffer) as view:
        launch = kernel.prepare(view, global_size=16)
        view.write(bytes(64))
    for use in (lambda: kernel(view, global_size=16), launch):
        with pytest.raises(Misuse, match="used by a kernel by the consumer outside a turn"):
            use()
    found = np.ones(16, np.uint32)
    with link.consumer_turn(buffer) as view:
        view.read(found)
        assert not found.any()
        launch()
        view.read(found)
    assert (found == 7).all()
    module.close()


def test_memory_is_not_closed_under_its_work_nor_used_after_the_link(link: Any) -> None:
    buffer = link.buffer(16, "uint32")
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, 1)
    with link.consumer_turn(buffer) as view:
        pass
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, 2)
        with pytest.raises(Misuse, match="closed in the producer's turn"):
            buffer.close()
    link.synchronize()
    link.close()
    with pytest.raises(ClosedMisuse, match="after the link was closed"):
        view.read(bytearray(64))


def test_a_queue_that_waits_for_itself_is_a_deadlock(link: Any) -> None:
    gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
    wait, signal = link.producer.prepare(wait=gate), link.producer.prepare(signal=gate)
    wait.submit(1)
    with pytest.raises(Misuse, match="deadlock"):
        signal.submit(0, 1)
    gate.signal_host(1)
    link.synchronize()
    for each in (wait, signal, gate):
        each.close()


@pytest.mark.parametrize("consumer", ["opencl", "hip"])
def test_binary_semaphores_that_drivers_share_are_kept_in_balance(consumer: str) -> None:
    with interop.connect(consumer=consumer, check=True) as made:
        link: Any = made
        semaphore = link.producer.create_semaphore(SemaphoreKind.BINARY, export=interop.HandleType.OPAQUE_FD)
        handle, descriptor = semaphore.export_semaphore()
        with handle:
            external = link.consumer.import_semaphore(handle, descriptor)
        stream = link.consumer.stream
        with pytest.raises(Misuse, match="nobody has signalled it"):
            external.wait(stream)
        signal = link.producer.prepare(signal=semaphore)
        signal.submit()
        with pytest.raises(Misuse, match="signalled twice"):
            signal.submit()
        external.wait(stream)
        with pytest.raises(Misuse, match="waited for twice"):
            external.wait(stream)
        with pytest.raises(Misuse, match="may be pending"):
            external.close()
        link.synchronize()
        for each in (external, signal, semaphore):
            each.close()


def test_the_environment_asks_for_checks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTEROP_CHECK", "1")
    with interop.connect(consumer="numpy") as link:
        buffer = link.buffer(16)
        with link.consumer_turn(buffer) as view:
            pass
        with pytest.raises(Misuse):
            view.read(bytearray(64))
    with interop.connect(consumer="numpy", check=False) as link:
        buffer = link.buffer(16)
        with link.consumer_turn(buffer) as view:
            pass
        view.read(bytearray(64))


def test_links_without_checks_do_not_load_them() -> None:
    code = (
        "import sys, interop\n"
        "with interop.connect(consumer='numpy') as link:\n"
        "    link.buffer(16)\n"
        "print('interop.links.checking' in sys.modules)\n"
    )
    done = fresh.run([sys.executable, "-c", code], software.environment())
    assert done.output.split() == ["False"]


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_contract_tests_pass_with_every_link_checked() -> None:
    """What is right, and what is wrong in ways that drivers notice, is so to a checked link as well."""
    files = [software.ROOT / "tests/contract" / name for name in ("test_bad_input.py", "test_matrix.py")]
    # Without those that start programs of their own, which take long and are about signals, not about order.
    chosen = "not ctrl_c and not never_comes and not too_late and not exception_inside and not no_"
    chosen += " and not caller_is_blocked"  # a timer's thread lets go of the queue, which no checker can know
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not soak and not slow"]
    changes = {**software.environment("swiftshader"), "INTEROP_CHECK": "1"}
    done = fresh.run([*command, "-k", chosen, *files], changes, timeout=390, cwd=software.ROOT)
    assert done.status == 0, done.output
    assert re.search(r"\b\d{2,} passed", done.output)
