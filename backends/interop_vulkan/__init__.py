"""Vulkan as the producer of a link: owns the memory, hands it out, fills, computes and draws in turns.

Needs a driver of Vulkan 1.2 with timeline semaphores, and the ``vulkan`` package. Modules:

================ ==================================================================
``plugin``       the entry point: a declaration, no driver
``backend``      the backend and the producer
``adopted``      a producer on a device that the caller made
``memory``       buffers and their export
``semaphore``    semaphores and their export
``stream``       the queue: prepared submissions
``render``       a mesh of heights, drawn into a picture
``kernels``      compute pipelines from SPIR-V
``_driver``      the binding: functions, structures, result codes
``_devices``     who the devices are and what they can do
``_context``     an opened device and everything that hangs on it
``_queue_lock``  the lock of a queue that other code submits to as well
``_lifetime``    how what hangs on a device is closed
``_recording``   the commands of one turn
``_pipeline``    what graphics and compute pipelines share
``_target``      what a mesh is drawn into
================ ==================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interop_vulkan.adopted import adopt

__all__ = ["adopt"]


def __getattr__(name: str) -> Any:
    """Import the binding with the first use of :func:`interop_vulkan.adopted.adopt`, not with the package."""
    if name == "adopt":
        from interop_vulkan.adopted import adopt

        return adopt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
