"""Checked by mypy and pyright, never run: the Vulkan classes fulfil the protocols of the core."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from interop_vulkan import backend, image, memory, render, semaphore, stream
    from interop_vulkan._recording import Recording

    from interop.backend import (
        Commands,
        Mesh,
        Producer,
        ProducerBackend,
        ProducerBuffer,
        ProducerSemaphore,
        Submission,
    )
    from interop.images import ImageProducer, ProducerImage

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
