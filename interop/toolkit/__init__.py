"""The pieces of which backends are built. ``from interop.toolkit import ...`` is a backend author's one import line.

The door loads a module when one of its names is first asked for. Loading all modules would add a third to the time
of ``import interop``, which needs five.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import load_later
from interop.toolkit.forks import Orphan, check_connect, close_in_children, first_in_child, fork_generation
from interop.toolkit.notifications import HOLD, Notifications, run_callback
from interop.toolkit.ownership import OPEN_TURN, WITH_CONSUMER, Owner, Ownership, OwnershipState
from interop.toolkit.sigint import Deferred
from interop.toolkit.views import BYTES, PART_ALIGNMENT, ViewBase, host_bytes, part_offsets, resolve_view

if TYPE_CHECKING:
    from interop.toolkit.bases import ConsumerBase, ImageConsumerBase
    from interop.toolkit.checks import ValueRule, check_image, check_import_memory, check_import_semaphore
    from interop.toolkit.command_list import StandardCommandList
    from interop.toolkit.device_consumers import DeviceConsumer
    from interop.toolkit.device_images import DeviceImage, ImageBase
    from interop.toolkit.device_kernels import DeviceKernel, DeviceModule
    from interop.toolkit.device_memory import DeviceMemory, DeviceView
    from interop.toolkit.device_streams import DeviceStream, settle
    from interop.toolkit.dlpack import DeviceType, check_dlpack_request, live_tensors, to_dlpack
    from interop.toolkit.drivers import NO_HINTS, DriverLibrary, decode, made_nothing, preconverted, typed
    from interop.toolkit.gates import ALL_HOLDS, HOST_FUNCTION, CallbackGate, Gate, HostFunctions, WordGate
    from interop.toolkit.host_kernels import GROUP_LIMIT, compile_c, find_compiler, to_c
    from interop.toolkit.host_memory import HOST_IMPORTABLE, HostMemory, HostView, payload_range
    from interop.toolkit.host_pages import PAGE_SIZE, HostPages, PinCounts, bytes_at, find_host_pages
    from interop.toolkit.import_cache import ImportCache, ImportedAllocation, Share
    from interop.toolkit.kernel_source import (
        check_arguments,
        check_grid,
        parse_kernels,
        pick_source,
        unknown_kernel,
    )
    from interop.toolkit.kernels import EagerLaunch, KernelBase, LaunchBase, ModuleBase, three_extents
    from interop.toolkit.polling import Status, poll
    from interop.toolkit.resource import Children, Closable, Pin, Resource, adopt, undo_all
    from interop.toolkit.runtimes import DeviceRuntime, put_handle
    from interop.toolkit.semaphores import DeviceSemaphore, SemaphoreBase
    from interop.toolkit.streams import EagerStream, StreamBase, hold_failure

__all__ = ["ALL_HOLDS", "BYTES", "GROUP_LIMIT", "HOLD", "HOST_FUNCTION", "HOST_IMPORTABLE", "NO_HINTS"]
__all__ += ["OPEN_TURN", "PAGE_SIZE", "PART_ALIGNMENT", "WITH_CONSUMER", "CallbackGate", "Children"]
__all__ += ["Closable", "ConsumerBase", "Deferred", "DeviceConsumer", "DeviceImage", "DeviceKernel"]
__all__ += ["DeviceMemory", "DeviceModule", "DeviceRuntime", "DeviceSemaphore", "DeviceStream", "DeviceType"]
__all__ += ["DeviceView", "DriverLibrary", "EagerLaunch", "EagerStream", "Gate", "HostFunctions"]
__all__ += ["HostMemory", "HostPages", "HostView", "ImageBase", "ImageConsumerBase", "ImportCache"]
__all__ += ["ImportedAllocation", "KernelBase", "LaunchBase", "ModuleBase", "Notifications", "Orphan"]
__all__ += ["Owner", "Ownership", "OwnershipState", "Pin", "PinCounts", "Resource", "SemaphoreBase"]
__all__ += [
    "Share",
    "StandardCommandList",
    "Status",
    "StreamBase",
    "ValueRule",
    "ViewBase",
    "WordGate",
    "adopt",
]
__all__ += ["bytes_at", "check_arguments", "check_connect", "check_dlpack_request", "check_grid"]
__all__ += ["check_image", "check_import_memory", "check_import_semaphore", "close_in_children", "compile_c"]
__all__ += ["decode", "find_compiler", "find_host_pages", "first_in_child", "fork_generation", "hold_failure"]
__all__ += ["host_bytes", "live_tensors", "made_nothing", "parse_kernels", "part_offsets", "payload_range"]
__all__ += ["pick_source", "poll", "preconverted", "put_handle", "resolve_view", "run_callback", "settle"]
__all__ += ["three_extents", "to_c", "to_dlpack", "typed", "undo_all", "unknown_kernel"]

_NAMES = {
    "bases": "ConsumerBase ImageConsumerBase",
    "checks": "ValueRule check_image check_import_memory check_import_semaphore",
    "command_list": "StandardCommandList",
    "device_consumers": "DeviceConsumer",
    "device_images": "DeviceImage ImageBase",
    "device_kernels": "DeviceKernel DeviceModule",
    "device_memory": "DeviceMemory DeviceView",
    "device_streams": "DeviceStream settle",
    "dlpack": "DeviceType check_dlpack_request live_tensors to_dlpack",
    "drivers": "NO_HINTS DriverLibrary decode made_nothing preconverted typed",
    "gates": "ALL_HOLDS HOST_FUNCTION CallbackGate Gate HostFunctions WordGate",
    "host_kernels": "GROUP_LIMIT compile_c find_compiler to_c",
    "host_memory": "HOST_IMPORTABLE HostMemory HostView payload_range",
    "host_pages": "PAGE_SIZE HostPages PinCounts bytes_at find_host_pages",
    "import_cache": "ImportCache ImportedAllocation Share",
    "kernel_source": "check_arguments check_grid parse_kernels pick_source unknown_kernel",
    "kernels": "EagerLaunch KernelBase LaunchBase ModuleBase three_extents",
    "polling": "Status poll",
    "resource": "Children Closable Pin Resource adopt undo_all",
    "runtimes": "DeviceRuntime put_handle",
    "semaphores": "DeviceSemaphore SemaphoreBase",
    "streams": "EagerStream StreamBase hold_failure",
}

if not TYPE_CHECKING:
    __getattr__ = load_later(__name__, _NAMES)
