"""Declares the Vulkan backend. Imports no binding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import BackendInfo, Role, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interop.protocols import Backend

INSTALL_HINT = (
    "pip install 'gpu-interop[vulkan]'; the loader and a driver come from the system "
    "(Debian, Ubuntu: apt-get install libvulkan1 mesa-vulkan-drivers)"
)


def _load() -> Backend:
    from interop_vulkan.backend import VulkanBackend

    return VulkanBackend()


@hookimpl
def interop_register_backends() -> Iterable[BackendInfo]:
    """Register ``vulkan`` as a producer."""
    return [
        BackendInfo(
            name="vulkan",
            roles=frozenset({Role.PRODUCER}),
            load=_load,
            install_hint=INSTALL_HINT,
            summary="Vulkan 1.2 with timeline semaphores, over the vulkan package",
        )
    ]
