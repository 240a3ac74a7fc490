"""Entry point of the OpenCL backend. Imports no binding and opens no driver."""

from __future__ import annotations

from interop.backend import Backend, BackendInfo, Role
from interop.hookspecs import hookimpl

INSTALL_HINT = (
    "pip install 'gpu-interop[opencl]' and an OpenCL driver of your GPU's vendor "
    "(listed by clinfo, found through /etc/OpenCL/vendors)"
)


def _load() -> Backend:
    from interop_opencl.backend import OpenCLBackend

    return OpenCLBackend()


@hookimpl
def interop_register_backends() -> tuple[BackendInfo, ...]:
    """Declare the OpenCL consumer."""
    return (
        BackendInfo(
            name="opencl",
            roles=frozenset({Role.CONSUMER}),
            load=_load,
            install_hint=INSTALL_HINT,
            summary="OpenCL 3.0 with cl_khr_external_memory and cl_khr_external_semaphore, over pyopencl",
        ),
    )
