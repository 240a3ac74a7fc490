"""Entry point of the CUDA backend. Imports no binding and opens no driver."""

from __future__ import annotations

from interop.protocols import Backend, BackendInfo, Role, hookimpl
from interop_cuda._install import INSTALL_HINT


def _load() -> Backend:
    from interop_cuda.backend import CudaBackend

    return CudaBackend()


@hookimpl
def interop_register_backends() -> tuple[BackendInfo, ...]:
    """Declare the CUDA consumer."""
    return (
        BackendInfo(
            name="cuda",
            roles=frozenset({Role.CONSUMER}),
            load=_load,
            install_hint=INSTALL_HINT,
            summary="CUDA by the driver and NVRTC: NVIDIA GPUs",
        ),
    )
