"""Entry point of the HIP backend. Imports no binding and opens no driver."""

from __future__ import annotations

from interop.protocols import Backend, BackendInfo, Role, hookimpl
from interop_hip._install import INSTALL_HINT


def _load() -> Backend:
    from interop_hip.backend import HipBackend

    return HipBackend()


@hookimpl
def interop_register_backends() -> tuple[BackendInfo, ...]:
    """Declare the HIP consumer."""
    return (
        BackendInfo(
            name="hip",
            roles=frozenset({Role.CONSUMER}),
            load=_load,
            install_hint=INSTALL_HINT,
            summary="HIP through hip-python: AMD GPUs, and runtimes that offer HIP on other hardware",
        ),
    )
