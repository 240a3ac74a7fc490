"""Write cross-API GPU code once.

A Vulkan producer feeds a HIP, OpenCL, CUDA or plain host consumer through one API. The link copies nothing where the
drivers allow that, and `Plan.explain` states the reason where they do not:

```python
with interop.connect(producer="vulkan", consumer="opencl") as link:
    height = link.buffer(shape=(256, 256), dtype="float32")
    kernel = link.consumer.compile(SOURCE).kernel("wave")
    with link.consumer_turn(height) as view:
        kernel(view, global_size=(256, 256))
    with link.producer_turn(height) as commands:
        commands.draw(mesh, height)
```

Importing this package opens no driver and loads no plugin. A module is loaded when one of its names is first asked for.
Authors of backends import `interop.protocols` and `interop.toolkit`. Two processes share memory through `interop.ipc`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Literal

    from interop.links import (
        Batch,
        Buffer,
        ConsumerTurn,
        Counts,
        FrameRing,
        LatestRing,
        Link,
        ProducerTurn,
        QueueTurn,
        Slot,
        Tuning,
        connect,
        tune_ring,
    )
    from interop.negotiation import MemoryPath, Plan, Strategy
    from interop.protocols import (
        FORMATS,
        ArgumentError,
        BackendInfo,
        BackendUnavailable,
        Capabilities,
        ClosedError,
        ClosedMisuse,
        CompileError,
        Consumer,
        DeviceIdentity,
        DeviceInfo,
        DeviceMismatch,
        DriverError,
        DType,
        Handle,
        HandleError,
        HandleType,
        ImageDescriptor,
        ImageFormat,
        InteropError,
        InvalidArgument,
        Kernel,
        KernelError,
        MappedBuffer,
        MappedImage,
        Misuse,
        Module,
        NoCommonHandleType,
        NoCommonSync,
        Producer,
        Role,
        Stream,
        TurnError,
        UnknownBackend,
        Unsupported,
        WaitTimeout,
    )
    from interop.toolkit import Owner

__version__ = "0.1.0"

__all__ = ["FORMATS", "ArgumentError", "BackendUnavailable", "Batch", "Buffer", "Capabilities", "__version__"]
__all__ += ["ClosedError", "ClosedMisuse", "CompileError", "Consumer", "ConsumerTurn", "Counts", "DType"]
__all__ += ["DeviceIdentity", "DeviceInfo", "DeviceMismatch", "DriverError", "FrameRing", "Handle"]
__all__ += ["HandleError", "HandleType", "ImageDescriptor", "ImageFormat", "InteropError", "InvalidArgument"]
__all__ += ["Kernel", "KernelError", "LatestRing", "Link", "MappedBuffer", "MappedImage", "MemoryPath"]
__all__ += ["Misuse", "Module", "NoCommonHandleType", "NoCommonSync", "Owner", "Plan", "Producer"]
__all__ += ["ProducerTurn", "QueueTurn", "Role", "Slot", "Strategy", "Stream", "Tuning", "TurnError"]
__all__ += ["UnknownBackend", "Unsupported", "WaitTimeout", "backends", "connect", "devices", "tune_ring"]

_NAMES = {
    "links": "Batch Buffer ConsumerTurn Counts FrameRing LatestRing Link ProducerTurn QueueTurn Slot Tuning connect"
    " tune_ring",
    "negotiation": "MemoryPath Plan Strategy",
    "toolkit": "Owner",
}
_HOME = {name: room for room, names in _NAMES.items() for name in names.split()}
_ROOMS = ("links", "negotiation", "protocols", "toolkit")

if not TYPE_CHECKING:  # a type checker would take every wrong name for an object

    def __getattr__(name: str) -> object:
        """Load the room of a name, and keep the name here. Every other name of `__all__` is one of the protocols."""
        if name in _ROOMS:
            return import_module(f"{__name__}.{name}")
        if name not in __all__:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found: object = getattr(import_module(f"{__name__}.{_HOME.get(name, 'protocols')}"), name)
        globals()[name] = found
        return found


def __dir__() -> list[str]:
    """List the names that are not loaded yet, too."""
    return [*globals(), *__all__]


def backends(role: Role | Literal["producer", "consumer"] | None = None) -> Mapping[str, BackendInfo]:
    """Return the registered backends. Loads none of them.

    Args:
        role: The side of a link that each returned backend can take; by default any.

    Returns:
        The declaration of each backend, by its name.

    Raises:
        InvalidArgument: `role` names no role.
    """
    from interop.protocols import Role, as_choice
    from interop.registry import backends as registered

    return registered(None if role is None else as_choice(Role, role, "role"))


def devices(backend: str) -> Sequence[DeviceInfo]:
    """Return the devices that a backend finds on this machine. No device stays open.

    Args:
        backend: A name of `backends()`.

    Returns:
        The devices, in the order of the driver.

    Raises:
        UnknownBackend: No installed plugin registers the name.
        BackendUnavailable: The backend's package, driver or device is missing.
    """
    from interop.registry import load_backend

    return load_backend(backend).devices()
