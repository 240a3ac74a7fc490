"""The HIP runtime as this backend calls it, through hip-python and through ctypes.

hip-python serves the calls that are made once. Calls of every turn go to the same library through ctypes: they take
plain addresses, create no wrapper objects and release the GIL.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import os
import re
import sys
import threading
from typing import TYPE_CHECKING, Any

from interop.protocols import BackendUnavailable, DriverError, InteropError, Unsupported
from interop.toolkit import HOST_FUNCTION, NO_HINTS, DriverLibrary, decode, made_nothing
from interop_hip._install import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping

INVALID_VALUE = 1
OUT_OF_MEMORY = 2

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_UINT = ctypes.c_uint
_SIZE = ctypes.c_size_t

# Functions of every turn and of images, and those whose results hip-python wraps in objects.
_RAW: dict[str, tuple[Any, ...]] = {
    "hipSetDevice": (_INT,),
    "hipDeviceGetAttribute": (_POINTER, _INT, _INT),
    "hipDeviceGetUuid": (_POINTER, _INT),
    "hipDeviceGetPCIBusId": (_POINTER, _INT, _INT),
    "hipStreamQuery": (_POINTER,),
    "hipStreamWaitValue32": (_POINTER, _POINTER, ctypes.c_uint32, _UINT, ctypes.c_uint32),
    "hipLaunchHostFunc": (_POINTER, HOST_FUNCTION, _POINTER),
    "hipEventRecord": (_POINTER, _POINTER),
    "hipEventQuery": (_POINTER,),
    "hipStreamWaitEvent": (_POINTER, _POINTER, _UINT),
    "hipMemcpyAsync": (_POINTER, _POINTER, _SIZE, _INT, _POINTER),
    "hipMemcpy2DAsync": (_POINTER, _SIZE, _POINTER, _SIZE, _SIZE, _SIZE, _INT, _POINTER),
    "hipMemcpy3DAsync": (_POINTER, _POINTER),
    "hipExternalMemoryGetMappedMipmappedArray": (_POINTER, _POINTER, _POINTER),
    "hipGetMipmappedArrayLevel": (_POINTER, _POINTER, _UINT),
    "hipSignalExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "hipWaitExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "hipModuleLaunchKernel": (_POINTER, *[_UINT] * 7, _POINTER, _POINTER, _POINTER),
}


# hip-python opens a library at the first call into it, and must not do that from two threads at once: one then
# reads a path that the other has freed, or leaves the library's handle empty for both.
_opening = threading.Lock()


class Driver(DriverLibrary):
    """The loaded binding and library. One per backend; owns nothing that needs closing."""

    backend = "hip"
    title = "the HIP runtime"
    install_hint = INSTALL_HINT
    functions = _RAW
    no_device = frozenset({100, 101})
    not_supported = 801

    def __init__(self) -> None:
        self.hip: Any = importlib.import_module("rocm.bindings.hip")
        self._compiler_open = False
        with _opening:
            self.runtime_version: int = int(self.call("hipRuntimeGetVersion"))
        super().__init__(_loaded_library())

    @functools.cached_property
    def hiprtc(self) -> Any:
        """The binding of the compiler, imported by the first compilation."""
        try:
            return importlib.import_module("rocm.bindings.hiprtc")
        except ImportError as error:
            raise Unsupported("hiprtc", f"its binding cannot be imported: {error}; {INSTALL_HINT}") from error

    def call(self, name: str, *args: object, hints: Mapping[int, str] = NO_HINTS) -> Any:
        """Call a function through hip-python and return its result besides the status.

        Raises the error of the status; see :meth:`interop.toolkit.DriverLibrary.check`.
        """
        try:
            status, *results = getattr(self.hip, name)(*args)
        except (RuntimeError, ValueError) as error:
            raise _unanswered(name, error) from error
        if status:
            self.check(name, int(status), hints)
        return results[0] if results else None

    def make(self, name: str, *args: object, hints: Mapping[int, str] = NO_HINTS) -> int:
        """Call a function that makes an object, by ctypes if it is in the table; return the object's address."""
        return (super().make if name in _RAW else self.create)(name, *args, hints=hints)

    def create(self, name: str, *args: object, hints: Mapping[int, str] = NO_HINTS) -> int:
        """Call a function of hip-python that makes an object; return the object's address."""
        try:  # as in call, and not by it: each import calls this twice
            status, address = getattr(self.hip, name)(*args)
        except (RuntimeError, ValueError) as error:
            raise _unanswered(name, error) from error
        if status:
            self.check(name, int(status), hints)
        if address is None:
            raise made_nothing(name)
        return int(address)

    def describe(self, code: int) -> tuple[str, str]:
        """Return hip-python's name of a status, and the runtime's text where it exports one."""
        try:
            status = self.hip.hipError_t(code)
        except ValueError:
            return "", ""
        text: Any = ""
        if self.exports("hipGetErrorString"):
            text = self.hip.hipGetErrorString(status)
            text = text[-1] if isinstance(text, tuple) else text
        return str(status.name), decode(text)

    def attribute(self, device: int, name: str) -> int | None:
        """Return an attribute of a device by the end of its name; None where the runtime refuses the question."""
        value = ctypes.c_int()
        number = int(getattr(self.hip.hipDeviceAttribute_t, f"hipDeviceAttribute{name}"))
        code = self.raw("hipDeviceGetAttribute")(ctypes.byref(value), number, device)
        return value.value if code == 0 else None

    def rtc(self, name: str, *args: object) -> Any:
        """Call a function of hiprtc and return what it gives besides the status. Raises as :meth:`call`."""
        status, result = self._rtc(name, args)
        self.check_rtc(name, status)
        return result

    def rtc_status(self, name: str, *args: object) -> int:
        """Call a function of hiprtc and return its status, for the caller to judge."""
        return self._rtc(name, args)[0]

    def _rtc(self, name: str, args: tuple[object, ...]) -> tuple[int, Any]:
        try:
            if not self._compiler_open:
                with _opening:
                    self.hiprtc.hiprtcVersion()
                self._compiler_open = True
            status, *results = getattr(self.hiprtc, name)(*args)
        except RuntimeError as error:
            raise Unsupported("hiprtc", f"the HIP compiler library cannot be used: {error}") from error
        except ValueError as error:
            raise DriverError(name, _code_in(str(error)), text=str(error)) from error
        return int(status), results[0] if results else None

    def check_rtc(self, function: str, status: int) -> None:
        """Raise :class:`DriverError` for a status of hiprtc other than 0."""
        if status:
            raise DriverError(function, status, str(self.hiprtc.hiprtcResult(status).name))

    def version(self) -> str:
        """Version of the runtime, as AMD writes it."""
        number = self.runtime_version
        return f"{number // 10_000_000}.{number // 100_000 % 100}.{number % 100_000}"

    def versions(self) -> dict[str, str]:
        """Versions of the binding and the runtime, and which file the runtime is.

        For reports: it searches the installed distributions and what the process has mapped.
        """
        import importlib.metadata  # not for connecting, which needs none of this

        found = {
            "hip-python": importlib.metadata.version("hip-python"),
            "HIP runtime": self.version(),
            "library": str(getattr(self.library, "_name", "")),
        }
        others = sorted(_mapped_libraries() - {os.path.realpath(found["library"])})
        if others:
            # PyTorch's ROCm wheels bring their own copy: addresses of one mean nothing to the other.
            found["other HIP runtimes in this process"] = ", ".join(others)
        return found


def _code_in(message: str) -> int:
    found = re.search(r"-?\d+", message)
    return int(found.group()) if found else -1


def _unanswered(function: str, error: RuntimeError | ValueError) -> InteropError:
    """Return what an exception of hip-python in place of a status stands for."""
    # hipError_t(code) fails inside for a code that the binding does not know.
    if isinstance(error, ValueError):
        return DriverError(function, _code_in(str(error)), text=str(error))
    # hip-python opens the library, and looks each symbol up, at the first call.
    if "dlsym" in str(error):
        return Unsupported(function, f"the HIP runtime does not export it ({error})")
    return BackendUnavailable("hip", f"the HIP runtime cannot be loaded: {error}", INSTALL_HINT)


def _mapped_libraries() -> set[str]:
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as maps:  # noqa: PTH123
            paths = {line.split(maxsplit=5)[-1].strip() for line in maps if "libamdhip64" in line}
    except OSError:
        return set()
    return {os.path.realpath(path) for path in paths}


def _loaded_library() -> ctypes.CDLL:
    """Open the library that hip-python has opened, never a second copy of it."""
    paths = importlib.import_module("rocm.bindings.util.paths")
    name = os.fsdecode(paths.get_library_path("amdhip64"))
    if sys.platform == "win32":
        return ctypes.CDLL(name)
    with contextlib.suppress(OSError):
        return ctypes.CDLL(name, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    for candidate in sorted(_mapped_libraries()):
        with contextlib.suppress(OSError):
            return ctypes.CDLL(candidate, mode=os.RTLD_NOLOAD | os.RTLD_NOW)
    raise BackendUnavailable("hip", f"hip-python loaded a HIP runtime, but not {name}", INSTALL_HINT)
