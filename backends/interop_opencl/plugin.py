"""Entry point of the OpenCL backend. Imports no binding and opens no driver."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import Backend, BackendInfo, Role, hookimpl
from interop_opencl._install import INSTALL_HINT

if TYPE_CHECKING:
    from interop.protocols import ConformanceProfile


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


@hookimpl
def interop_conformance_profile(backend: str) -> ConformanceProfile | None:
    """Name the cases that a driver is known to fail, and how."""
    if backend != "opencl":
        return None
    from interop.protocols import ConformanceProfile, DriverFault, HandleType  # only in a run of the kit

    blocked = DriverFault(
        driver=r"^NVIDIA CUDA ",
        handle_types=frozenset({HandleType.OPAQUE_FD}),
        failure=r"^AssertionError: the turns blocked their caller for ",
        reason="acquire and release of external memory behind a user event return only when it is set",
        reference="measured with driver 580.159 on an H200; docs/explanation/driver-behaviour.md",
    )
    return ConformanceProfile(driver_faults={"link::turns_do_not_block_the_caller[bridged]": blocked})
