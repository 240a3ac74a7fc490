"""An OpenCL context with one device alone, which all objects of a consumer share."""

from __future__ import annotations

import warnings
from functools import cached_property
from typing import TYPE_CHECKING, Any

from interop.toolkit import preconverted
from interop_opencl import _driver as cl
from interop_opencl._events import PendingCallbacks

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import DeviceInfo

_SETTLE = 5.0
"""Seconds for the driver to make the callbacks that it owes."""


class OpenCLContext:
    """A context, its device and its platform."""

    def __init__(self, driver: cl.Driver, device: DeviceInfo, platform: Any, native_device: Any) -> None:
        """Create the context (``clCreateContext``)."""
        self.native = driver.make("clCreateContext", driver.cl.Context, [native_device])
        self.driver = driver
        self.device = device
        self.platform: int = platform.int_ptr
        self.native_device = native_device
        self.address: int = self.native.int_ptr
        """The ``cl_context``."""
        self.pending = PendingCallbacks(driver)

    def extension(self, name: str) -> Callable[..., Any]:
        """Return a function of the platform. Raises :class:`Unsupported` if the platform lacks it."""
        return self.driver.required(self.platform, name)

    def call(self, name: str, *args: object) -> None:
        """Call a function of the platform and raise the error of its status."""
        cl.check(name, self.extension(name)(*args))

    @cached_property
    def ownership(self) -> tuple[Callable[..., int], ...]:
        """Acquire and release. Raises :class:`Unsupported` if the platform lacks them."""
        return tuple(preconverted(self.extension(name)) for name in cl.MEMORY_FUNCTIONS)

    def release(self) -> None:
        """Release the context, after its queues."""
        if not self.pending.settle(_SETTLE):
            text = "the OpenCL driver still owes callbacks for events of a closed queue"
            warnings.warn(text, ResourceWarning, 2)
        drop = self.driver.last_reference("Context", self.address)
        self.native = None
        drop()
