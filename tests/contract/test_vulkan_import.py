"""Memory of one producer taken in by another, and handed on to a consumer: real drivers, real descriptors."""

from __future__ import annotations

from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from interop_opencl.backend import OpenCLBackend
from interop_vulkan.backend import VulkanBackend

from interop import HandleType, Unsupported
from interop.testing import leaks

if TYPE_CHECKING:
    from interop_vulkan.memory import VulkanBuffer
    from interop_vulkan.producer import VulkanProducer

COUNT = 1024
FD = HandleType.OPAQUE_FD


def fill(producer: VulkanProducer, buffer: VulkanBuffer, value: int) -> None:
    with closing(producer.prepare(release=[buffer])) as submission:
        submission.begin().fill(buffer, value)
        submission.submit()
        producer.wait_idle(10)


def words(producer: VulkanProducer, buffer: VulkanBuffer) -> set[int]:
    with closing(producer.create_buffer(buffer.size, host_visible=True)) as staging:
        with closing(producer.prepare(acquire=[buffer])) as submission:
            submission.begin().copy(buffer, staging)
            submission.submit()
            producer.wait_idle(10)
        with staging.host_view() as view:
            return set(view.cast("I"))


def test_bytes_both_ways_and_on_to_a_consumer_and_nothing_left() -> None:
    pass_bytes_on()
    before = leaks.snapshot()  # drivers keep some threads and files from their first use on
    pass_bytes_on()
    assert leaks.leaked_since(before) == []


def pass_bytes_on() -> None:
    backend = VulkanBackend()
    device = backend.devices()[0]
    opencl = OpenCLBackend()
    with backend.open_producer(device) as mine, backend.open_producer(device) as theirs:
        source = mine.create_buffer(4 * COUNT, export=FD)
        handle, descriptor = source.export_memory()
        taken = theirs.import_memory(handle, descriptor)
        assert handle.closed
        fill(mine, source, 0xA5A5A5A5)
        assert words(theirs, taken) == {0xA5A5A5A5}
        fill(theirs, taken, 0x5A5A5A5A)
        assert words(mine, source) == {0x5A5A5A5A}
        # The third in the chain gets what came, not a copy.
        found = next(each for each in opencl.devices() if each.identity.match(device.identity))
        with closing(opencl.open_consumer(found)) as consumer:
            memory = consumer.import_memory(*taken.export_memory())
            memory.acquire(consumer.stream)
            read = bytearray(4 * COUNT)
            memory.map_buffer().read(read)
            memory.release(consumer.stream)
            assert set(memoryview(read).cast("I")) == {0x5A5A5A5A}
        source.close()
        assert words(theirs, taken) == {0x5A5A5A5A}


def test_a_type_that_the_device_does_not_have() -> None:
    backend = VulkanBackend()
    with backend.open_producer(backend.devices()[0]) as mine:
        source = mine.create_buffer(64, export=FD)
        handle, descriptor = source.export_memory()
        with handle, pytest.raises(Unsupported, match="no memory type for both"):
            mine.import_memory(handle, descriptor, memory_type=31)
        assert handle.closed
