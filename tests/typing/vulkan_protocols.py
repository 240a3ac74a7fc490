"""Checked by mypy and pyright, never run: the Vulkan classes, and OpenCL's signals, fulfil the core's protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interop_opencl import backend as opencl
    from interop_opencl import semaphore as signals
    from interop_vulkan import backend, image, memory, render, semaphore, stream
    from interop_vulkan._recording import Recording

    from interop.protocols import (
        Commands,
        ConsumerSemaphore,
        ExportingConsumer,
        ExternalSemaphore,
        ImageProducer,
        ImportingProducer,
        ImportingSemaphore,
        Mesh,
        Producer,
        ProducerBackend,
        ProducerBuffer,
        ProducerImage,
        ProducerSemaphore,
        Submission,
    )

    def fulfilled(
        a: backend.VulkanBackend,
        b: backend.Producer,
        c: memory.Buffer,
        d: semaphore.Semaphore,
        e: stream.PreparedSubmission,
        f: Recording,
        g: render.Grid,
    ) -> tuple[ProducerBackend, Producer, ProducerBuffer, ProducerSemaphore, Submission, Commands, Mesh]:
        return a, b, c, d, e, f, g

    def images(a: backend.Producer, b: image.Image) -> tuple[ImageProducer, ProducerImage]:
        return a, b

    def one_shot(
        a: backend.Producer, b: semaphore.Inlet, c: opencl.OpenCLConsumer, d: signals.OpenCLSignals
    ) -> tuple[ImportingProducer, ImportingSemaphore, ExportingConsumer, ConsumerSemaphore]:
        return a, b, c, d

    def one_signal(a: signals.OneShotSemaphore) -> ExternalSemaphore:
        return a
