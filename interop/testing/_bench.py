"""What the cases are written with: an opened producer and consumer, and shared memory between them."""

from __future__ import annotations

import random
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from interop.protocols import ImageConsumer, ImageProducer, Unsupported, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from interop.protocols import (
        Consumer,
        ExternalMemory,
        Handle,
        ImageDescriptor,
        MappedBuffer,
        MappedImage,
        MemoryDescriptor,
        Producer,
        ProducerBuffer,
        ProducerImage,
        ProducerSemaphore,
    )
    from interop.testing._pair import Pair


class _Closable(Protocol):
    def close(self) -> None: ...


_Thing = TypeVar("_Thing", bound=_Closable)


def pattern(size: int, seed: int = 0) -> bytes:
    """Return ``size`` bytes that look random and are the same in every run."""
    return random.Random(seed).randbytes(size)  # noqa: S311 - test data


def parts(image: ImageDescriptor) -> list[tuple[int, int]]:
    """Return level and layer of everything that one read or write moves."""
    return [(level, layer) for level in range(image.mip_levels) for layer in range(image.array_layers)]


class Bench:
    """Two opened devices and the means to move bytes through them by hand, without a link.

    What is made here is closed at the end of the test, in reverse order, after both sides came to rest.
    """

    def __init__(self, pair: Pair, producer: Producer, consumer: Consumer, timeout: float) -> None:
        self.pair = pair
        self.producer = producer
        self.consumer = consumer
        self.timeout = timeout
        self._made = ExitStack()

    def track(self, thing: _Thing) -> _Thing:
        """Have ``thing`` closed at the end."""
        self._made.callback(thing.close)
        return thing

    def create(self, size: int) -> ProducerBuffer:
        """Make an exportable buffer."""
        return self.track(self.producer.create_buffer(size, export=self.pair.handle_type))

    def export(self, size: int) -> tuple[ProducerBuffer, Handle, MemoryDescriptor]:
        """Make a buffer and export it."""
        buffer = self.create(size)
        handle, descriptor = buffer.export_memory()
        return buffer, self.track(handle), descriptor

    def take(self, buffer: ProducerBuffer) -> ExternalMemory:
        """Export a buffer and import it into the consumer."""
        handle, descriptor = buffer.export_memory()
        with handle:
            return self.track(self.consumer.import_memory(handle, descriptor))

    def share(self, size: int) -> tuple[ProducerBuffer, ExternalMemory]:
        """Make a buffer that both sides see."""
        buffer = self.create(size)
        return buffer, self.take(buffer)

    def put(
        self, buffer: ProducerBuffer, data: bytes, signal: ProducerSemaphore | None = None, value: int = 0
    ) -> None:
        """Write the producer's memory from its own queue, and give it to the consumer.

        Waits for the queue, unless a semaphore tells the consumer.
        """
        staging = self.track(self.producer.create_buffer(buffer.size, host_visible=True))
        with staging.host_view() as view:
            view[: len(data)] = data
        submission = self.track(self.producer.prepare(release=[buffer], signal=signal))
        submission.begin().copy(staging, buffer)
        point = submission.submit(signal_value=value)
        if signal is None:
            self._reached(point)

    def get(self, buffer: ProducerBuffer, wait: ProducerSemaphore | None = None, value: int = 0) -> bytes:
        """Read the producer's memory through its own queue, which takes it from the consumer."""
        staging = self.track(self.producer.create_buffer(buffer.size, host_visible=True))
        submission = self.track(self.producer.prepare(acquire=[buffer], wait=wait))
        submission.begin().copy(buffer, staging)
        self._reached(submission.submit(wait_value=value))
        with staging.host_view() as view:
            return bytes(view[: buffer.size])

    def _reached(self, point: int) -> None:
        if not self.producer.progress.wait_host(point, self.timeout):
            raise WaitTimeout("the producer's queue", self.timeout)

    @contextmanager
    def _owned(self, memory: ExternalMemory | MappedImage) -> Generator[None]:
        """Have the consumer own memory for a while, and wait until it has given it back."""
        memory.acquire(self.consumer.stream)
        yield
        memory.release(self.consumer.stream)
        self.consumer.stream.synchronize(self.timeout)

    def write(self, memory: ExternalMemory, view: MappedBuffer, data: bytes) -> None:
        """Write through the consumer, as its owner."""
        with self._owned(memory):
            view.write(data, timeout=self.timeout)

    def read(self, memory: ExternalMemory, view: MappedBuffer) -> bytes:
        """Read through the consumer, as its owner."""
        with self._owned(memory):
            return self.peek(view)

    def peek(self, view: MappedBuffer) -> bytes:
        """Read a view's bytes."""
        target = bytearray(view.nbytes)
        view.read(target, timeout=self.timeout)
        return bytes(target)

    def create_image(self, wanted: ImageDescriptor) -> ProducerImage:
        """Make an exportable image."""
        if not isinstance(self.producer, ImageProducer):
            raise Unsupported(f"images of {self.producer.device.name}", "it declares them, and makes none")
        return self.track(self.producer.create_image(wanted, export=self.pair.handle_type))

    def take_image(self, handle: Handle, memory: MemoryDescriptor, image: ImageDescriptor) -> MappedImage:
        """Import an image into the consumer."""
        if not isinstance(self.consumer, ImageConsumer):
            raise Unsupported(f"images in {self.consumer.device.name}", "it declares them, and takes none in")
        return self.track(self.consumer.import_image(handle, memory, image))

    def share_image(self, wanted: ImageDescriptor) -> tuple[ProducerImage, MappedImage]:
        """Make an image that both sides see."""
        image = self.create_image(wanted)
        handle, memory = image.export_memory()
        with handle:
            return image, self.take_image(handle, memory, image.descriptor)

    def put_image(self, image: ProducerImage, texels: Sequence[bytes]) -> None:
        """Write every part of an image from the producer's queue, and give it to the consumer."""
        self._write(image, texels)
        self._hand_over(image.release)

    def get_image(self, image: ProducerImage) -> list[bytes]:
        """Take an image from the consumer, and read every part of it through the producer's queue."""
        self._hand_over(image.acquire)
        return self._read(image)

    def _write(self, image: ProducerImage | MappedImage, texels: Sequence[bytes]) -> None:
        for (level, layer), data in zip(parts(image.descriptor), texels, strict=True):
            image.write(data, level=level, layer=layer, timeout=self.timeout)

    def _read(self, image: ProducerImage | MappedImage) -> list[bytes]:
        found: list[bytes] = []
        for level, layer in parts(image.descriptor):
            target = bytearray(image.descriptor.part_nbytes(level, layer))
            image.read(target, level=level, layer=layer, timeout=self.timeout)
            found.append(bytes(target))
        return found

    def _hand_over(self, record: Callable[[Any], None]) -> None:
        submission = self.track(self.producer.prepare())
        record(submission.begin())
        self._reached(submission.submit())

    def write_image(self, mapped: MappedImage, texels: Sequence[bytes]) -> None:
        """Write every part of an image through the consumer, as its owner."""
        with self._owned(mapped):
            self._write(mapped, texels)

    def read_image(self, mapped: MappedImage) -> list[bytes]:
        """Read every part of an image through the consumer, as its owner."""
        with self._owned(mapped):
            return self._read(mapped)

    def close(self) -> None:
        """Wait for both sides and close what was made."""
        with self._made:
            self._made.callback(self.producer.wait_idle, self.timeout)
            self._made.callback(self.consumer.stream.synchronize, self.timeout)


def same(actual: bytes | bytearray, expected: bytes | bytearray) -> None:
    """Assert that bytes are equal, and say where they differ.

    Not by a bare ``assert``: pytest explains a difference by comparing line by line, which takes minutes for a
    buffer where it is told not to cut explanations short, as it is on most CI servers.
    """
    if bytes(actual) == bytes(expected):
        return
    if len(actual) != len(expected):
        raise AssertionError(f"{len(actual)} bytes where {len(expected)} are expected")
    differ = [at for at, (one, other) in enumerate(zip(actual, expected, strict=True)) if one != other]
    at = differ[0]
    raise AssertionError(
        f"{len(differ)} of {len(actual)} bytes differ, first at {at}: {actual[at]:#04x}, expected {expected[at]:#04x}"
    )
