"""The hooks of this distribution: they set up the software drivers before any driver library is opened."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from interop.protocols import hookimpl

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


@hookimpl
def interop_prepare_environment() -> list[str]:
    """Activate the software drivers where no hardware is found; report one line per thing done."""
    if (
        os.environ.get("INTEROP_SOFTGPU", "").lower() == "off"
    ):  # a first frame needs none of the modules below
        return []
    from interop_softgpu.activate import activate

    return list(activate().lines)


@hookimpl
def interop_live_objects(backend: str) -> Callable[[], Mapping[str, int]] | None:
    """Count the objects of the software drivers of OpenCL and HIP, once a backend has opened them."""
    if backend not in {"opencl", "hip"}:
        return None
    from interop_softgpu.native import live_objects

    return lambda: live_objects(backend)
