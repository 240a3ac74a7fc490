"""Checked by mypy and pyright, never run: what a user's editor knows about the public names.

The lines that must not type-check carry an ignore with the exact rule; both checkers report an ignore that has
become unnecessary, so a signature that turns too lenient is found as well.
"""

# pyright: reportUnnecessaryTypeIgnoreComment=true
from __future__ import annotations

from typing import TYPE_CHECKING, assert_type

if TYPE_CHECKING:
    import numpy as np

    import interop
    from interop import Buffer, FrameRing, LatestRing, Link, MappedBuffer, MemoryPath, Plan
    from interop.links import Batch, ConsumerTurn, ProducerTurn
    from interop.protocols import (
        Commands,
        Consumer,
        DType,
        ExternalSemaphore,
        GpuCommands,
        GpuProducer,
        Handle,
        Kernel,
        MemoryDescriptor,
        Mesh,
        MeshProducer,
        Module,
        Producer,
        SemaphoreKind,
        Stream,
    )

    def first_program() -> None:
        """The program of the README."""
        with interop.connect(producer="vulkan", consumer="opencl", sync="bridged", timeout=1.5) as link:
            assert_type(link, Link[GpuProducer])
            assert_type(link.explain(), str)
            assert_type(link.path, MemoryPath)
            assert_type(link.plan, Plan)
            height = link.buffer(shape=(256, 256), dtype="float32")
            assert_type(height, Buffer)
            assert_type(height.shape, tuple[int, ...])
            assert_type(height.dtype, DType)
            module = link.consumer.compile("")
            assert_type(module, Module)
            wave = module.kernel("wave")
            assert_type(wave, Kernel)
            mesh = link.producer.create_mesh(256, 256, width=640, height=480)
            assert_type(mesh, Mesh)
            with link.consumer_turn(height) as view:
                assert_type(view, MappedBuffer)
                assert_type(view.view((4,), view.dtype, offset=16), MappedBuffer)
                wave(view, np.int32(256), np.float32(0), global_size=(256, 256))
                wave(view, np.int32(256), np.float32(0), global_size=4, local_size=(4,), stream=None)
                view.read(bytearray(16), timeout=1.0)
                view.write(np.zeros(4, np.float32))
            with link.producer_turn(height) as commands:
                assert_type(commands, GpuCommands)
                commands.draw(mesh, height)
            link.synchronize(timeout=2)
            assert_type(mesh.image(1.0), memoryview)

    def turns(link: Link, a: Buffer, b: Buffer, c: Buffer) -> None:
        """One buffer gives its view, several give a tuple of views."""
        assert_type(link.consumer_turn(a), ConsumerTurn[MappedBuffer])
        assert_type(link.consumer_turn(a, b), ConsumerTurn[tuple[MappedBuffer, ...]])
        with link.consumer_turn(a, b, c) as views:
            assert_type(views, tuple[MappedBuffer, ...])
        turn = link.producer_turn(a, b)
        assert_type(turn, ProducerTurn[Commands])
        assert_type(turn.progress, int)

    def abilities(name: str, opened: GpuProducer, link: Link) -> None:
        """The type of the producer decides what it creates and what its turns record."""
        with interop.connect("vulkan", "opencl") as known:
            a = known.buffer(4)
            shader = known.producer.create_compute(b"", buffers=1, push_constant_bytes=4)
            described = interop.ImageDescriptor((4, 4), "rgba8unorm", tiling="linear")
            image = known.producer.create_image(described, export="opaque_fd", timeout=1.0)
            mesh = known.producer.create_mesh(2, 2, width=4, height=4)
            with known.producer_turn(a) as commands:
                commands.dispatch(shader, [a], (1,), b"1234")
                commands.draw(mesh, a)
                image.acquire(commands)
            with known.queue_turn(a) as commands:
                commands.dispatch(shader, [a], [1], b"1234")
            image.read(bytearray(64))
        assert_type(interop.connect(opened), Link[GpuProducer])
        assert_type(interop.connect(name), Link)
        assert_type(link.producer, Producer)
        if isinstance(link.producer, MeshProducer):
            assert_type(link.producer.create_mesh(2, 2, width=4, height=4), Mesh)
        link.producer.create_buffer(64, export="dma_buf")
        link.producer.create_semaphore("binary", export="sync_fd")
        link.producer.create_mesh(2, 2, width=4, height=4)  # type: ignore[attr-defined]
        link.producer.create_semaphore("timelines")  # type: ignore[arg-type]
        link.producer.create_buffer(64, export="fd")  # type: ignore[arg-type]

    def rings(link: Link) -> None:
        """Each mode has its kind of ring."""
        assert_type(link.ring(64), FrameRing)
        assert_type(link.ring(64, slots=8, batch=4), FrameRing)
        newest = link.ring((4, 4), "uint32", mode="latency", source="consumer")
        assert_type(newest, LatestRing)
        assert_type(newest.newest(timeout=0.0), Batch | None)
        assert_type(newest.counts.dropped, int)
        link.ring(64, mode="latency", slots="auto")  # type: ignore[call-overload]
        assert_type(interop.tune_ring(link, 64, latency=0.01), interop.Tuning)
        link.ring(64, mode="fast")  # type: ignore[call-overload]
        link.ring(64, source="vulkan")  # type: ignore[call-overload]

    def without_a_link(consumer: Consumer, producer: Producer, descriptor: MemoryDescriptor) -> None:
        """Import by hand."""
        buffer = producer.create_buffer(64, export=interop.HandleType.OPAQUE_FD)
        handle, described = buffer.export_memory()
        assert_type(handle, Handle)
        assert_type(described, MemoryDescriptor)
        memory = consumer.import_memory(handle, descriptor)
        assert_type(memory.map_buffer(offset=16, size=32), MappedBuffer)
        assert_type(consumer.stream, Stream)
        semaphore = producer.create_semaphore(SemaphoreKind.BINARY)
        given, kind = semaphore.export_semaphore()
        imported = consumer.import_semaphore(given, kind)
        assert_type(imported, ExternalSemaphore)
        imported.wait(consumer.stream)
        interop.connect(producer, consumer).close()

    def errors(error: interop.InteropError) -> None:
        """What a handler can look at."""
        if isinstance(error, interop.BackendUnavailable):
            assert_type(error.install_hint, str)
        if isinstance(error, interop.DriverError):
            assert_type(error.code, int)
        if isinstance(error, interop.WaitTimeout):
            assert_type(error.seconds, float)
            timeout: TimeoutError = error
            del timeout

    def wrong(link: Link, buffer: Buffer, descriptor: MemoryDescriptor) -> None:
        """What a checker must refuse."""
        interop.connect(consumer=3)  # type: ignore[call-overload]
        interop.connect("vulkan", "opencl", 0)  # type: ignore[call-overload]
        link.buffer((2, 2.5))  # type: ignore[arg-type]
        link.producer_turn("height")  # type: ignore[arg-type]
        descriptor.size = 4  # type: ignore[misc]
        with link.consumer_turn(buffer) as view:
            view.fill(0)  # type: ignore[attr-defined]
