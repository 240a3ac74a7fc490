"""Checked by mypy and pyright, never run: the Vulkan classes, and OpenCL's signals, fulfil the core's protocols."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interop_opencl import semaphore as signals
    from interop_opencl.consumer import OpenCLConsumer
    from interop_vulkan import (
        _signal_inlet,
        backend,
        image,
        kernels,
        memory,
        producer,
        render,
        semaphore,
        submission,
    )
    from interop_vulkan._recording import Recording

    from interop.protocols import (
        ComputePipeline,
        ConsumerSemaphore,
        ExportingConsumer,
        ExternalSemaphore,
        GpuCommands,
        GpuProducer,
        ImageProducer,
        ImportingProducer,
        ImportingSemaphore,
        Mesh,
        ProducerBackend,
        ProducerBuffer,
        ProducerImage,
        ProducerSemaphore,
        Submission,
    )

    def fulfilled(
        a: backend.VulkanBackend,
        b: producer.VulkanProducer,
        c: memory.VulkanBuffer,
        d: semaphore.VulkanSemaphore,
        e: submission.PreparedSubmission,
        f: Recording,
        g: render.Grid,
        h: kernels.Compute,
    ) -> tuple[
        ProducerBackend,
        GpuProducer,
        ProducerBuffer,
        ProducerSemaphore,
        Submission[GpuCommands],
        GpuCommands,
        Mesh,
        ComputePipeline,
    ]:
        return a, b, c, d, e, f, g, h

    def images(a: producer.VulkanProducer, b: image.VulkanImage) -> tuple[ImageProducer, ProducerImage]:
        return a, b

    def one_shot(
        a: producer.VulkanProducer,
        b: _signal_inlet.SignalInlet,
        c: OpenCLConsumer,
        d: signals.OpenCLSignals,
    ) -> tuple[ImportingProducer, ImportingSemaphore, ExportingConsumer, ConsumerSemaphore]:
        return a, b, c, d

    def one_signal(a: signals.OneShotSemaphore) -> ExternalSemaphore:
        return a
