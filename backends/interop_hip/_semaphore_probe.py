"""Which semaphores a HIP device imports. HIP has no query for it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from interop.protocols import (
    SEMAPHORE_FLOOR,
    BackendUnavailable,
    DriverError,
    FdFate,
    Handle,
    HandleType,
    SemaphoreKind,
    Unsupported,
    lend,
)
from interop_hip._driver import INVALID_VALUE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop_hip._runtime import HipRuntime


def probe_semaphores(
    runtime: HipRuntime, *, amd: bool
) -> tuple[Mapping[SemaphoreKind, frozenset[HandleType]], list[str]]:
    """Return the handle types that a device imports for each kind of semaphore, and why some are missing.

    AMD's runtime is known and is not asked: on Linux no release has external semaphores, and builds with assertions
    abort the process on the attempt; on Windows both kinds work as NT handles. Any other runtime is asked to import
    a file that is no semaphore. One that knows the type looks at the file, and answers something else than "invalid
    value" (1) or "not supported" (801). The file must be open: CUDA (driver 580) answers 1 for fd -1, and 999 for a
    file under a type that it knows.
    """
    if amd and sys.platform == "win32":
        both = dict.fromkeys(SemaphoreKind, frozenset({HandleType.OPAQUE_WIN32}))
        return both, ["AMD's Windows runtime does not report waits that the driver refuses"]
    if amd:
        return {}, ["AMD's HIP runtime has no external semaphores on Linux, in any release"]
    if sys.platform == "win32":
        return {}, ["external semaphores of a HIP runtime that is not AMD's are not known on Windows"]
    found: dict[SemaphoreKind, frozenset[HandleType]] = {}
    notes: list[str] = []
    for kind in SemaphoreKind:
        refusal = _refusal(runtime, kind)
        if refusal:
            notes.append(f"the HIP runtime refuses {kind.value} semaphores: {refusal}")
        else:
            found[kind] = frozenset({HandleType.OPAQUE_FD})
    return found, notes


def _refusal(runtime: HipRuntime, kind: SemaphoreKind) -> str:
    """Return how the runtime refuses the type, or an empty string when it knows the type."""
    runtime.select()
    with Handle.adopt(os.memfd_create("no semaphore"), HandleType.OPAQUE_FD) as handle:
        try:
            with lend(handle, FdFate.VARIES, floor=SEMAPHORE_FLOOR) as number:
                address = runtime.import_semaphore(number, HandleType.OPAQUE_FD, kind)
        except (Unsupported, BackendUnavailable) as error:
            return str(error)
        except DriverError as error:
            return str(error) if error.code == INVALID_VALUE else ""
    runtime.call(runtime.destroy_semaphore, address)
    return ""
