"""The entry point: the declaration of the backend. It imports no binding."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import BackendInfo, Role, hookimpl
from interop_vulkan._install import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interop.protocols import Backend


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
