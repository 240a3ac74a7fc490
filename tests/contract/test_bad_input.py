"""What a user can get wrong: each is a typed error that says what, and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import sys
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import fresh
import numpy as np
import pytest
import software
import trouble

import interop
from interop import (
    ArgumentError,
    ClosedError,
    CompileError,
    DriverError,
    Handle,
    HandleError,
    HandleType,
    InvalidArgument,
    TurnError,
    UnknownBackend,
    Unsupported,
    WaitTimeout,
    registry,
)
from interop.protocols import MemoryDescriptor, SemaphoreDescriptor, SemaphoreKind
from interop.testing._pair import Pair

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from interop import Link
    from interop.protocols import ExternalMemory
    from interop.testing import leaks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

CONSUMERS = ("opencl", "hip")
SIZE = 4096
ADD = """
KERNEL void add(GLOBAL_MEM unsigned int *data, unsigned int amount)
{
    data[GLOBAL_ID(0)] += amount;
}
"""


@pytest.fixture(scope="session")
def used_once() -> None:
    """Open every driver and compile every kernel once: they start threads and open files that they keep."""
    for consumer in CONSUMERS:
        for _ in range(2):
            with interop.connect(consumer=consumer) as link:
                link.consumer.compile(ADD).close()
                with pytest.raises(CompileError):
                    link.consumer.compile("KERNEL void wrong() { missing(); }")
                buffer = link.buffer(SIZE, "uint8")
                with link.producer_turn(buffer) as commands:
                    commands.fill(buffer, 0)
                with link.consumer_turn(buffer) as view:
                    view.write(bytes(SIZE))
                link.synchronize()


@pytest.fixture(params=CONSUMERS)
def link(
    request: pytest.FixtureRequest, used_once: None, nothing_left_behind: leaks.Resources
) -> Iterator[Link]:
    with interop.connect(consumer=request.param) as opened:
        yield opened


# ---- what is not there ------------------------------------------------------------------------------------------


def test_unknown_consumer(nothing_left_behind: leaks.Resources) -> None:
    with pytest.raises(UnknownBackend) as caught:
        interop.connect(consumer="opengl")
    assert "opengl" in str(caught.value)
    assert {"hip", "opencl"} <= set(caught.value.known)


def test_a_producer_is_no_consumer(nothing_left_behind: leaks.Resources) -> None:
    with pytest.raises(UnknownBackend, match="no plugin registers a consumer of this name"):
        interop.connect(consumer="vulkan")


def test_no_hip_runtime(tmp_path: Path) -> None:
    found = fresh.call(trouble.refused, software.environment(ROCM_PATH=str(tmp_path)), consumer="hip")
    assert found["error"] == "BackendUnavailable"
    assert "'hip'" in found["message"]
    assert "libamdhip64" in found["message"]
    assert "gpu-interop[hip]" in found["install_hint"]
    assert found["left"] == []


def test_no_opencl_driver(tmp_path: Path) -> None:
    environment = software.environment(OCL_ICD_VENDORS=str(tmp_path))
    found = fresh.call(trouble.refused, environment, consumer="opencl")
    assert found["error"] == "BackendUnavailable"
    assert "'opencl'" in found["message"]
    assert "gpu-interop[opencl]" in found["install_hint"]
    assert found["left"] == []


def test_no_vulkan_driver(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere.json")
    environment = software.environment(VK_DRIVER_FILES=nowhere, VK_ICD_FILENAMES=nowhere)
    found = fresh.call(trouble.refused, environment, consumer="opencl")
    assert found["error"] == "BackendUnavailable"
    assert "no Vulkan driver" in found["message"]
    assert "gpu-interop[vulkan]" in found["install_hint"]
    assert found["left"] == []


@pytest.mark.parametrize(
    ("consumer", "switch"), [("opencl", "SOFTGPU_CL_UUID"), ("hip", "SOFTGPU_HIP_UUID")], ids=CONSUMERS
)
def test_another_device(consumer: str, switch: str) -> None:
    environment = software.environment("swiftshader", **{switch: "wrong"})
    found = fresh.call(trouble.refused, environment, consumer=consumer)
    assert found["error"] == "DeviceMismatch", found["message"]
    assert found["producer"].startswith("vulkan:0 SwiftShader")
    assert found["consumer"].startswith(f"{consumer}:0 ")
    assert len(set(re.findall("uuid ([0-9a-f]{32})", found["message"]))) == 2
    assert "consumer_device=" in found["message"]
    assert found["left"] == []


@pytest.mark.parametrize(
    ("choices", "error"),
    [
        ({"producer_device": 7}, "InvalidArgument"),
        ({"consumer_device": "no such device"}, "InvalidArgument"),
        ({"sync": "fast"}, "InvalidArgument"),
        ({"path": "magic"}, "InvalidArgument"),
        ({"timeout": 0}, "InvalidArgument"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_choice_that_cannot_be(
    used_once: None,
    nothing_left_behind: leaks.Resources,
    consumer: str,
    choices: dict[str, Any],
    error: str,
) -> None:
    with pytest.raises(getattr(interop, error)) as caught:
        interop.connect(consumer=consumer, **choices)
    assert str(next(iter(choices.values()))) in str(caught.value)


def test_strategy_that_the_drivers_lack() -> None:
    found = fresh.call(trouble.refused, software.environment("lavapipe"), consumer="opencl", sync="native")
    assert found["error"] == "NoCommonSync"
    assert "vulkan does not export it" in found["message"]
    assert found["left"] == []


# ---- sizes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("shape", [0, -4, (), (4, 0), (2**40, 2**40), "4", 1.5, None], ids=repr)
def test_shape(link: Link, shape: object) -> None:
    with pytest.raises(InvalidArgument):
        link.buffer(shape)  # type: ignore[arg-type]


def test_element_type(link: Link) -> None:
    with pytest.raises(InvalidArgument, match="float7"):
        link.buffer(4, "float7")


@contextlib.contextmanager
def imported(link: Link) -> Iterator[ExternalMemory]:
    buffer = link.producer.create_buffer(SIZE, export=HandleType.OPAQUE_FD)
    handle, descriptor = buffer.export_memory()
    with handle:
        memory = link.consumer.import_memory(handle, descriptor)
    with contextlib.closing(buffer), contextlib.closing(memory):
        yield memory


@pytest.mark.parametrize(
    ("offset", "size"), [(0, SIZE + 1), (SIZE, 1), (SIZE - 4, 8), (-4, 4), (0, -1), (2**63, 4), (4, 2**63)]
)
def test_range(link: Link, offset: int, size: int) -> None:
    with imported(link) as memory:
        with pytest.raises(InvalidArgument):
            memory.map_buffer(offset=offset, size=size)
        memory.map_buffer(offset=0, size=SIZE).close()


@pytest.mark.parametrize("wrong", [0, 1, -1], ids=["empty", "one-too-many", "negative"])
def test_host_bytes_of_another_size(link: Link, wrong: int) -> None:
    with imported(link) as memory:
        view = memory.map_buffer()
        host = bytearray(0 if wrong == 0 else SIZE + wrong)
        memory.acquire(link.consumer.stream)
        for copy in (view.read, view.write):
            with pytest.raises(InvalidArgument):
                copy(host)
        memory.release(link.consumer.stream)
        link.consumer.stream.synchronize(5)
        view.close()


# ---- handles ----------------------------------------------------------------------------------------------------


def memory_file(size: int) -> int:
    number = os.memfd_create("stranger")
    os.ftruncate(number, size)
    return number


def pipe_end() -> int:
    number, other = os.pipe()
    os.close(other)
    return number


STRANGERS: dict[str, Callable[[], int]] = {
    "too-small": lambda: memory_file(SIZE // 2),
    "directory": lambda: os.open("/", os.O_RDONLY),
    "device": lambda: os.open("/dev/null", os.O_RDWR),
    "pipe": pipe_end,
}


@pytest.mark.parametrize("stranger", STRANGERS)
@pytest.mark.parametrize("what", ["memory", "semaphore"])
def test_file_of_a_stranger(link: Link, what: str, stranger: str) -> None:
    with Handle.adopt(STRANGERS[stranger](), HandleType.OPAQUE_FD) as handle:
        before = os.fstat(handle.value)
        with pytest.raises((HandleError, DriverError, Unsupported)):
            take_in(link, what, handle)
        assert os.path.samestat(os.fstat(handle.value), before)


def take_in(link: Link, what: str, handle: Handle) -> None:
    kind = HandleType.OPAQUE_FD
    if what == "memory":
        memory = MemoryDescriptor(allocation_size=SIZE, size=SIZE, handle_type=kind)
        link.consumer.import_memory(handle, memory)
    else:
        semaphore = SemaphoreDescriptor(kind=SemaphoreKind.BINARY, handle_type=kind)
        link.consumer.import_semaphore(handle, semaphore)


def test_semaphore_as_memory_and_memory_as_semaphore(link: Link) -> None:
    semaphore = link.producer.create_semaphore(SemaphoreKind.BINARY, export=HandleType.OPAQUE_FD)
    buffer = link.producer.create_buffer(64 * SIZE, export=HandleType.OPAQUE_FD)
    for what, handle in (
        ("memory", semaphore.export_semaphore()[0]),
        ("semaphore", buffer.export_memory()[0]),
    ):
        with handle:
            before = os.fstat(handle.value)
            with pytest.raises((HandleError, DriverError, Unsupported)):
                take_in(link, what, handle)
            assert os.path.samestat(os.fstat(handle.value), before)
    semaphore.close()
    buffer.close()


@pytest.mark.parametrize("number", [-1, 10**6], ids=["negative", "not-open"])
def test_number_that_is_no_file(number: int) -> None:
    with pytest.raises(HandleError, match=str(number)):
        Handle.adopt(number, HandleType.OPAQUE_FD)


@pytest.mark.parametrize("what", ["memory", "semaphore"])
def test_closed_handle(link: Link, what: str) -> None:
    handle = Handle.adopt(memory_file(SIZE), HandleType.OPAQUE_FD)
    handle.close()
    with pytest.raises((ClosedError, HandleError)):
        take_in(link, what, handle)


def test_file_that_was_closed_behind_the_handle(link: Link) -> None:
    handle = Handle.adopt(memory_file(SIZE), HandleType.OPAQUE_FD)
    os.close(handle.value)
    with pytest.raises(HandleError, match="not open"):
        take_in(link, "memory", handle)
    handle.detach()


def test_handle_of_another_type_than_described(link: Link) -> None:
    buffer = link.producer.create_buffer(SIZE, export=HandleType.OPAQUE_FD)
    handle, descriptor = buffer.export_memory()
    with handle:
        with pytest.raises(HandleError, match="the descriptor says dma_buf"):
            link.consumer.import_memory(handle, replace(descriptor, handle_type=HandleType.DMA_BUF))
        os.fstat(handle.value)
    buffer.close()


# ---- order ------------------------------------------------------------------------------------------------------


def test_turn_inside_a_turn(link: Link) -> None:
    buffer = link.buffer(SIZE, "uint8")
    for outer in (link.consumer_turn(buffer), link.producer_turn(buffer)):
        with outer:
            for inner in (link.consumer_turn(buffer), link.producer_turn(buffer)):
                with pytest.raises(TurnError), inner:
                    pass
    with link.consumer_turn(buffer):
        pass


def test_turn_of_another_links_buffer(link: Link) -> None:
    with interop.connect(consumer="numpy") as other:
        foreign = other.buffer(SIZE, "uint8")
        for take in (link.consumer_turn, link.producer_turn):
            with pytest.raises(TurnError, match="does not belong to this link"):
                take(foreign)


def test_turn_of_a_closed_link(used_once: None, nothing_left_behind: leaks.Resources) -> None:
    link = interop.connect(consumer="opencl")
    buffer = link.buffer(SIZE, "uint8")
    turns = (link.consumer_turn(buffer), link.producer_turn(buffer))
    link.close()
    for turn in turns:
        with pytest.raises(ClosedError), turn:
            pass


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("first", ["producer", "consumer"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_link_closed_after_what_it_joins(
    used_once: None, nothing_left_behind: leaks.Resources, consumer: str, first: str, sync: Any
) -> None:
    pair = Pair.find(registry.default(), "vulkan", consumer)
    opened: dict[str, Any] = {
        "producer": pair.producers.open_producer(pair.producer),
        "consumer": pair.consumers.open_consumer(pair.consumer),
    }
    link = interop.connect(opened["producer"], opened["consumer"], sync=sync)
    buffer = link.buffer(SIZE, "uint8")
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, 0)
    with link.consumer_turn(buffer):
        pass
    link.synchronize()
    opened.pop(first).close()
    with pytest.raises(ClosedError, match="close a link before the devices that it joins"):
        link.close()
    assert link.closed
    link.close()
    opened.popitem()[1].close()


def test_timeline_that_does_not_grow(link: Link) -> None:
    semaphore = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
    semaphore.signal_host(5)
    for value in (5, 4, 0):
        # The backend's words, or those of a checked link, which sees it first.
        with pytest.raises(TurnError, match=f"the value 5; .* got {value}|signalled with {value} .* to 5;"):
            semaphore.signal_host(value)
    assert semaphore.counter() == 5
    semaphore.close()


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_wait_for_a_signal_that_comes_too_late(
    used_once: None, nothing_left_behind: leaks.Resources, consumer: str, sync: Any
) -> None:
    """The waits of a link are bounded and say for whom they waited; what was enqueued runs when it can."""
    with interop.connect(consumer=consumer, sync=sync, timeout=0.4) as link:
        buffer = link.buffer(SIZE, "uint8")
        gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = link.producer.prepare(wait=gate)
        stop.submit(1)
        opener = threading.Timer(3.0, gate.signal_host, [1])
        begun = time.monotonic()
        opener.start()
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 0x07070707)
        with pytest.raises(WaitTimeout) as caught:
            wait_for_the_consumer(link, buffer)
        assert time.monotonic() - begun < 2.5
        assert re.search("vulkan|opencl|hip", str(caught.value), re.IGNORECASE)
        assert caught.value.seconds <= 0.5
        opener.join()
        link.producer.wait_idle(5)
        with contextlib.suppress(DriverError):  # a bridge gave up meanwhile; its stream may say so, once
            link.consumer.stream.synchronize(5)
        stop.close()
        gate.close()


@pytest.mark.parametrize("adopted", [False, True])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_view_waits_as_long_as_its_link(
    used_once: None, nothing_left_behind: leaks.Resources, consumer: str, adopted: bool
) -> None:
    """No backend has a bound of its own for reads and writes of a link's buffer."""
    with interop.connect(consumer=consumer, timeout=0.4) as link, contextlib.ExitStack() as stack:
        if adopted:
            assert link.plan.handle_type is not None
            own = stack.enter_context(
                contextlib.closing(link.producer.create_buffer(SIZE, export=link.plan.handle_type))
            )
            buffer = link.adopt(own, SIZE, "uint8")
        else:
            buffer = link.buffer(SIZE, "uint8")
        stream, host = link.consumer.stream, np.zeros(SIZE, np.uint8)
        with link.consumer_turn(buffer) as view:
            stream.hold(1)
            opener = threading.Timer(3.0, stream.release, [1])
            opener.start()
            for copy in (view.read, view.write):
                begun = time.monotonic()
                with pytest.raises(WaitTimeout) as caught:
                    copy(host)
                assert time.monotonic() - begun < 1.2
                assert caught.value.seconds <= 0.4
            opener.join()
            stream.synchronize(5)
        buffer.close()


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_a_failed_hold_is_told_by_what_it_waited_for(used_once: None, consumer: str) -> None:
    """The stream knows only that a hold failed; the link says that Vulkan did not finish in time."""
    with interop.connect(consumer=consumer, sync="bridged", timeout=0.2) as link:
        buffer = link.buffer(SIZE, "uint8")
        gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = link.producer.prepare(wait=gate)
        stop.submit(1)
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 0x07070707)
        with link.consumer_turn(buffer):
            pass
        deadline = time.monotonic() + 5
        while link.order.to_consumer.failure is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        with pytest.raises(WaitTimeout, match="vulkan to finish a submission"):
            link.synchronize(2)
        gate.signal_host(1)
        link.producer.wait_idle(5)
        stop.close()
        gate.close()


def wait_for_the_consumer(link: Link, buffer: interop.Buffer) -> None:
    with link.consumer_turn(buffer):
        pass
    link.synchronize()


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_close_while_a_signal_never_comes(consumer: str, sync: Any) -> None:
    done = fresh.attempt(
        trouble.never_signalled, software.environment(), consumer=consumer, sync=sync, timeout=60
    )
    assert done.status == 0, done.output
    first, *later = done.result["errors"]
    assert re.match(r"WaitTimeout: waited [\d.]+ s for .*(vulkan|hip|opencl)", first, re.IGNORECASE), first
    assert later  # closing tells it too, by then perhaps as what the driver says of the work it dropped
    assert done.result["seconds"] < 10
    assert done.seconds < 25


# ---- kernels ----------------------------------------------------------------------------------------------------


def test_error_in_the_source(link: Link) -> None:
    source = ADD.replace("amount;\n", "missing_name;\n")
    line = 1 + source.splitlines().index("    data[GLOBAL_ID(0)] += missing_name;")
    with pytest.raises(CompileError) as caught:
        link.consumer.compile(source)
    assert re.search(rf"kernel:{line}:", caught.value.log), caught.value.log
    assert "missing_name" in caught.value.log


def test_kernel_that_the_source_lacks(link: Link) -> None:
    module = link.consumer.compile(ADD)
    with pytest.raises(ArgumentError, match=r"no kernel 'subtract'.*add"):
        module.kernel("subtract")
    module.close()


def test_arguments(link: Link) -> None:
    module = link.consumer.compile(ADD)
    kernel = module.kernel("add")
    buffer = link.buffer(SIZE // 4, "uint32")
    with link.consumer_turn(buffer) as view:
        for arguments, words in (
            ((view,), "2 arguments, got 1"),
            ((view, np.uint32(1), np.uint32(2)), "2 arguments, got 3"),
            ((view, 1), "amount"),
            ((view, np.float32(1)), "amount.*numpy.uint32, got numpy.float32"),
            ((view, np.uint64(1)), "amount.*numpy.uint32, got numpy.uint64"),
            ((np.uint32(1), np.uint32(1)), "data.*needs memory"),
            ((None, np.uint32(1)), "data"),
            (("text", np.uint32(1)), "data"),
        ):
            with pytest.raises(ArgumentError, match=words):
                kernel(*arguments, global_size=4)
        with pytest.raises(TypeError, match="global_size"):
            kernel(view, np.uint32(1))  # type: ignore[call-arg]
        for grid in (None, 0, -1, (), (4, 0), (1, 1, 1, 1)):
            with pytest.raises(ArgumentError, match="global_size"):
                kernel(view, np.uint32(1), global_size=grid)  # type: ignore[arg-type]
        with pytest.raises(ArgumentError, match="local_size"):
            kernel(view, np.uint32(1), global_size=4, local_size=2**20)
    module.close()


# ---- programs that break off ------------------------------------------------------------------------------------


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_ctrl_c_between_frames(consumer: str, sync: Any) -> None:
    """Where it is caught outside the link, everything has been released."""
    done = fresh.attempt(
        trouble.interrupted,
        software.environment(),
        interrupt_at="running",
        consumer=consumer,
        sync=sync,
        caught=True,
        timeout=30,
    )
    assert done.status == 0, done.output
    assert done.result == {"left": []}


@pytest.mark.parametrize("consumer", CONSUMERS)
def test_ctrl_c_ends_the_program(consumer: str) -> None:
    environment = software.environment()
    done = fresh.attempt(
        trouble.interrupted,
        environment,
        interrupt_at="running",
        consumer=consumer,
        sync="auto",
        caught=False,
        timeout=30,
    )
    assert done.status == -signal.SIGINT, done.output
    assert done.output.rstrip().endswith("KeyboardInterrupt")
    assert "Exception ignored" not in done.output


@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_ctrl_c_during_a_wait(consumer: str, sync: Any) -> None:
    """The waits of drivers are cut into pieces, so that the program is not deaf for their whole length."""
    done = fresh.attempt(
        trouble.interrupted_wait,
        software.environment(),
        interrupt_at="running",
        consumer=consumer,
        sync=sync,
        timeout=30,
    )
    assert done.status == 0, done.output
    assert done.result == {"interrupted": True}
    assert done.seconds < 15


@pytest.mark.parametrize("side", ["consumer", "producer"])
@pytest.mark.parametrize("sync", ["native", "bridged", "blocking"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_exception_inside_a_turn(consumer: str, sync: Any, side: str) -> None:
    found = fresh.call(trouble.broken_off, software.environment(), consumer=consumer, sync=sync, side=side)
    assert found["left"] == []
    assert found["seconds"] < 5
