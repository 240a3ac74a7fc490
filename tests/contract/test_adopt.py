"""Somebody else's Vulkan device as the producer: used as told, refused with reasons, and never destroyed."""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import os
import sys
import tempfile
import threading
from typing import TYPE_CHECKING, Any

import adopting
import fresh
import pytest
import software
from engine import EXTENSIONS, Engine
from validation import complaints

import interop
from interop import Handle, HandleError, HandleType, InvalidArgument, Unsupported, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Iterator

    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

DRIVERS: tuple[VulkanChoice, ...] = ("swiftshader", "lavapipe")
CONSUMERS = ("opencl", "hip", "numpy")


def checked(vulkan: VulkanChoice) -> dict[str, str]:
    """Turn the validation layer on: at the end of a device it names what others have left on it."""
    return software.environment(vulkan, VK_INSTANCE_LAYERS="VK_LAYER_KHRONOS_validation")


def call(function: Any, environment: dict[str, str], **arguments: Any) -> dict[str, Any]:
    """Run under the layer, which must have nothing to say."""
    done = fresh.attempt(function, environment, timeout=100, **arguments)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    found: dict[str, Any] = done.result
    return found


@pytest.mark.validation
@pytest.mark.parametrize("form", adopting.FORMS)
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("vulkan", DRIVERS)
def test_frames_over_an_adopted_device(vulkan: VulkanChoice, consumer: str, form: str) -> None:
    found = call(adopting.many, checked(vulkan), consumer=consumer, form=form)
    assert (found["wrong"], found["wrong staged"], found["left"]) == (0, 0, []), found["explanation"]


@pytest.mark.parametrize("vulkan", DRIVERS)
def test_the_missing_extension_is_named(vulkan: VulkanChoice) -> None:
    found = call(adopting.without_extensions, software.environment(vulkan))
    assert (found["path"], found["wrong"]) == ("staged", 0)
    for text in (found["explanation"], found["error"]):
        assert "the VkDevice was created without VK_KHR_external_memory_fd" in text


@pytest.mark.validation
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_other_threads_submit_under_the_same_lock(consumer: str) -> None:
    found = call(adopting.beside_other_threads, checked("swiftshader"), consumer=consumer)
    assert found["wrong"] == 0
    assert found["submitted"] > 10
    assert found["taken"] >= found["submitted"] + 200


@pytest.mark.validation
def test_a_dropped_producer_is_reported_and_leaves_the_device() -> None:
    found = call(adopting.dropped, checked("swiftshader"))
    assert any("unclosed producer" in text for text in found["warnings"])


@pytest.fixture
def engine() -> Iterator[Engine]:
    with Engine() as opened:
        yield opened


@pytest.mark.parametrize("what", ["instance", "physical_device", "device", "queue"])
@pytest.mark.parametrize("given", [0, -1, 2**64, True, "0x1234", 1.5, b"12345678"])
def test_what_is_no_handle_is_refused(engine: Engine, what: str, given: object) -> None:
    with pytest.raises(InvalidArgument, match="expected a Vk"):
        adopting.adopted(engine, **{what: given})


@pytest.mark.parametrize(
    ("what", "other"), [("instance", "device"), ("physical_device", "queue"), ("device", "instance")]
)
def test_a_handle_of_another_kind_is_refused(engine: Engine, what: str, other: str) -> None:
    with pytest.raises(InvalidArgument, match="expected a Vk"):
        adopting.adopted(engine, **{what: getattr(engine, other)})


def test_a_physical_device_of_another_instance_is_refused(engine: Engine) -> None:
    with Engine() as other, pytest.raises(InvalidArgument, match="none of the 1 physical devices"):
        adopting.adopted(engine, physical_device=other.physical)


def test_the_loader_may_be_named(engine: Engine) -> None:
    found = ctypes.cast(ctypes.CDLL("libvulkan.so.1").vkGetInstanceProcAddr, ctypes.c_void_p)
    for given in (found, found.value):
        with adopting.adopted(engine, get_instance_proc_addr=given) as producer:
            submission = producer.prepare()
            assert producer.progress.wait_host(submission.submit(), 10)
            submission.close()
    with pytest.raises(InvalidArgument, match="expected a PFN_vkGetInstanceProcAddr"):
        adopting.adopted(engine, get_instance_proc_addr=0)


@pytest.mark.parametrize("version", [(1, 0), (1, 1), 1 << 22 | 1 << 12])
def test_an_old_version_is_refused(engine: Engine, version: Any) -> None:
    with pytest.raises(Unsupported, match=r"api_version is 1\.[01]\.0; set VkApplicationInfo::apiVersion"):
        adopting.adopted(engine, api_version=version)


def test_timeline_semaphores_must_be_named(engine: Engine) -> None:
    with pytest.raises(Unsupported, match="timelineSemaphore") as raised:
        adopting.adopted(engine, features=[])
    assert raised.value.capability == "timelineSemaphore"


@pytest.mark.parametrize("name", EXTENSIONS)
def test_an_extension_that_was_not_enabled_is_noticed(name: str) -> None:
    with Engine(extensions=[each for each in EXTENSIONS if each != name]) as engine:
        with pytest.raises(Unsupported, match="ppEnabledExtensionNames") as raised:
            adopting.adopted(engine, extensions=EXTENSIONS)
        assert raised.value.capability == name


def test_an_extension_that_the_driver_lacks_is_noticed(engine: Engine) -> None:
    with pytest.raises(InvalidArgument, match="VK_KHR_external_memory_win32 cannot have been enabled"):
        adopting.adopted(engine, extensions=["VK_KHR_external_memory_win32"])
    with pytest.raises(InvalidArgument, match="one text"):
        adopting.adopted(engine, extensions="VK_KHR_external_memory_fd")


@pytest.mark.parametrize("family", [-1, 1, 10**6])
def test_a_queue_family_that_is_not_there_is_refused(engine: Engine, family: int) -> None:
    with pytest.raises(InvalidArgument, match="queue families"):
        adopting.adopted(engine, queue_family=family)


def test_a_lock_that_stays_taken_is_an_error(engine: Engine) -> None:
    lock = threading.Lock()
    with adopting.adopted(engine, lock=lock, timeout=0.05) as producer:
        submission = producer.prepare()
        with lock, pytest.raises(WaitTimeout, match="lock of the adopted queue"):
            submission.submit()
        point = submission.submit()
        assert producer.progress.wait_host(point, 10)
        submission.close()


def test_every_kind_of_lock(engine: Engine) -> None:
    entered: list[str] = []

    @contextlib.contextmanager
    def section() -> Iterator[None]:
        entered.append("in")
        yield
        entered.append("out")

    class Manager:
        def __enter__(self) -> None:
            entered.append("in")

        def __exit__(self, *_: object) -> None:
            entered.append("out")

    reentrant = threading.RLock()
    for lock in (section, Manager(), reentrant):
        with adopting.adopted(engine, lock=lock) as producer, reentrant:
            submission = producer.prepare()
            submission.submit()
            submission.submit()
            submission.close()
    assert entered == ["in", "out"] * 4
    with pytest.raises(InvalidArgument, match="lock must be"):
        adopting.adopted(engine, lock=3)


@pytest.mark.validation
@pytest.mark.parametrize("shape", adopting.SHAPES)
@pytest.mark.parametrize("consumer", ["opencl", "hip"])
@pytest.mark.parametrize("vulkan", DRIVERS)
def test_memory_that_the_program_allocated(vulkan: VulkanChoice, consumer: str, shape: str) -> None:
    found = call(adopting.own_memory, checked(vulkan), consumer=consumer, shape=shape)
    assert found["wrong"] == [], found["explanation"]


@pytest.mark.validation
@pytest.mark.parametrize("shape", ["whole", "range behind other memory"])
def test_memory_of_the_program_is_staged(shape: str) -> None:
    found = call(adopting.own_memory, checked("swiftshader"), consumer="numpy", shape=shape, path="staged")
    assert found["wrong"] == [], found["explanation"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"size": 0}, "size must be from 1 to"),
        ({"size": 4097}, "past the end of 4096"),
        ({"offset": 4096}, "past the end of 4096"),
        ({"offset": -4}, "memory_offset must be 0 or more"),
        ({"offset": 2, "size": 4}, "multiple of 4"),
        ({"memory_offset": 1, "allocation_size": 8192}, "must be a multiple of"),
        ({"memory_offset": 1 << 20}, "past the end"),
        ({"allocation_size": 1024}, "past the end of 1024"),
        ({"dedicated": True, "memory_offset": 4096, "allocation_size": 8192}, "dedicated"),
        ({"buffer": 0}, "expected a VkBuffer"),
        ({"memory": 0}, "expected a VkDeviceMemory"),
    ],
)
def test_memory_that_cannot_be_as_described_is_refused(
    engine: Engine, changes: dict[str, Any], text: str
) -> None:
    buffer, memory, allocation_size = engine.buffer(4096)
    said: dict[str, Any] = {"buffer": buffer, "memory": memory, "size": 4096}
    said["allocation_size"] = allocation_size
    with adopting.adopted(engine) as producer, pytest.raises(InvalidArgument, match=text):
        producer.adopt_buffer(**{**said, **changes})


def test_a_handle_that_cannot_be_the_memory_is_refused(engine: Engine) -> None:
    buffer, _, allocation_size = engine.buffer(4096)
    said: dict[str, Any] = {"size": 4096, "allocation_size": allocation_size}
    with adopting.adopted(engine) as producer, tempfile.TemporaryFile() as file:
        file.truncate(64)
        handle = Handle.adopt(os.dup(file.fileno()), HandleType.OPAQUE_FD)
        with handle, pytest.raises(HandleError, match="holds 64 bytes"):
            producer.adopt_buffer(buffer, handle, **said)
        other = Handle.adopt(os.dup(file.fileno()), HandleType.DMA_BUF)
        with other, pytest.raises(HandleError, match="is dma_buf"):
            producer.adopt_buffer(buffer, other, **said)
        with pytest.raises(Unsupported, match="exporting memory as dma_buf"):
            producer.adopt_buffer(buffer, 1, handle_type=HandleType.DMA_BUF, **said)


def test_a_link_takes_all_of_a_buffer_or_none(engine: Engine) -> None:
    with adopting.adopted(engine) as producer, interop.connect(producer, "opencl") as link:
        plain = producer.create_buffer(4096)
        with pytest.raises(Unsupported, match="without export"):
            link.adopt(plain)
        plain.close()
        shared = producer.create_buffer(4096, export=HandleType.OPAQUE_FD)
        for shape in (1023, 1025, (2, 511)):
            with pytest.raises(InvalidArgument, match="but the buffer has 4096"):
                link.adopt(shared, shape, "float32")
        assert link.adopt(shared).shape == (4096,)
        assert link.adopt(shared, dtype="float32").shape == (1024,)
        shared.close()


@pytest.mark.validation
@pytest.mark.parametrize("consumer", CONSUMERS)
@pytest.mark.parametrize("vulkan", DRIVERS)
def test_example_of_a_program(vulkan: VulkanChoice, consumer: str) -> None:
    program = str(software.ROOT / "examples/own_vulkan.py")
    done = fresh.run([sys.executable, program, f"--consumer={consumer}", "--frames=10"], checked(vulkan))
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    assert "10 frames, zero-copy, all right" in done.output


@pytest.mark.skipif(importlib.util.find_spec("slangpy") is None, reason="slangpy is not installed")
@pytest.mark.parametrize("limits", [{}, {"SOFTGPU_HIP_SEMAPHORES": "0"}], ids=["native", "bridged"])
@pytest.mark.parametrize("consumer", CONSUMERS)
def test_example_of_slangpy(consumer: str, limits: dict[str, str]) -> None:
    """On SwiftShader; lavapipe beside it has the surface extensions without which slangpy makes no instance."""
    program = str(software.ROOT / "examples/own_slangpy.py")
    command = [sys.executable, program, f"--consumer={consumer}", "--frames=10"]
    done = fresh.run(command, software.environment("both", **limits))
    assert done.status == 0, done.output
    assert "10 frames, zero-copy, all right" in done.output
