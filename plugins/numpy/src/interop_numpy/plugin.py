"""The declaration of the backend. Importing this module imports neither NumPy nor anything that uses it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import BackendInfo, Role, hookimpl

if TYPE_CHECKING:
    from collections.abc import Iterable

    from interop.protocols import Backend, ConformanceProfile


def _load() -> Backend:
    from interop_numpy.backend import NumPyBackend

    return NumPyBackend()


@hookimpl
def interop_register_backends() -> Iterable[BackendInfo]:
    """Declare one consumer."""
    return [
        BackendInfo(
            name="numpy",
            roles=frozenset({Role.CONSUMER}),
            load=_load,
            install_hint="pip install interop-numpy",
            summary="arrays on the host's processor, over the memory of a software Vulkan driver",
        )
    ]


@hookimpl
def interop_conformance_profile(backend: str) -> ConformanceProfile | None:
    """Name the cases that are about what NumPy does not have."""
    if backend != "numpy":
        return None
    from interop.protocols import ConformanceProfile  # only in a run of the kit

    return ConformanceProfile(
        unsupported={"kernels::local_memory*": "the work items of a kernel run one after the other"}
    )
