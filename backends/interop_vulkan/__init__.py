"""Vulkan as the producer of a link: owns and exports memory, fills, computes and draws in turns.

Needs a driver of Vulkan 1.2 with timeline semaphores, and the ``vulkan`` package. Modules:

==================== ==============================================================
``plugin``           the entry point: a declaration, no driver
``backend``          the backend: lists and opens devices
``producer``         the producer: checks arguments, creates objects
``adoption``         a producer on the caller's own device
``memory``           buffers and parts of buffers
``semaphore``        semaphores
``image``            images
``kernels``          compute pipelines
``render``           meshes
``submission``       prepared submissions to the queue
``_driver``          the binding: functions, structures, result codes
``_handle_types``    Vulkan's bits for handle types
``_instance``        the instance of the process
``_devices``         descriptions of physical devices
``_capabilities``    imports and exports of a physical device
``_device_creation`` creation of a ``VkDevice``
``_context``         an opened device and the destruction of its objects
``_child``           base class of the objects of a device
``_timeline``        timeline semaphores from the host
``_allocation``      device memory
``_exports``         handles of memory and semaphores
``_host_buffer``     buffers over host memory
``_buffer_import``   buffers over imported memory
``_buffer_adoption`` buffers of the caller
``_native_handles``  Vulkan handles as callers give them
``_queue_lock``      the lock of an adopted queue
``_signal_inlet``    semaphores that import sync files
``_barriers``        barriers and transfers of ownership
``_recording``       the commands of one turn
``_image_formats``   formats and usages of images
``_pipeline``        shader modules and descriptor sets
``_mesh_pipeline``   the pipeline and camera of meshes
``_target``          the picture that meshes are drawn into
==================== ==============================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from interop_vulkan.adoption import adopt

__all__ = ["adopt"]


def __getattr__(name: str) -> Any:
    """Import the binding with the first use of :func:`interop_vulkan.adoption.adopt`, not with the package."""
    if name == "adopt":
        from interop_vulkan.adoption import adopt

        return adopt
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
