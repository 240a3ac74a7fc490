"""The HIP runtime as this backend calls it: loading, error translation, raw functions.

hip-python serves the calls that are made once. Calls that are made every turn go to the same library through
prepared ctypes functions: they take plain addresses, build no wrapper objects, and release the GIL.
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
import time
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interop.protocols import BackendUnavailable, DriverError, InteropError, Unsupported, WaitTimeout
from interop.toolkit import poll
from interop_hip.plugin import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Mapping

INVALID_VALUE = 1
OUT_OF_MEMORY = 2
NO_DEVICE = frozenset({100, 101})
NOT_READY = 600
NOT_SUPPORTED = 801

REGISTER = "hipHostRegister"
MAP_ARRAY = "hipExternalMemoryGetMappedMipmappedArray"
"""Functions that not every runtime exports, so that what a device offers depends on them."""

PATIENCE = 5.0
"""Seconds that a close waits for streams whose work should have ended."""


HOST_FUNCTION = ctypes.CFUNCTYPE(None, ctypes.c_void_p)

_NO_HINTS: Mapping[int, str] = MappingProxyType({})

_POINTER = ctypes.c_void_p
_INT = ctypes.c_int
_UINT = ctypes.c_uint
_SIZE = ctypes.c_size_t

# Functions of the hot path and of images, and those whose results hip-python wraps in objects that would only be
# unwrapped.
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
    "hipFree": (_POINTER,),
    "hipExternalMemoryGetMappedMipmappedArray": (_POINTER, _POINTER, _POINTER),
    "hipGetMipmappedArrayLevel": (_POINTER, _POINTER, _UINT),
    "hipFreeMipmappedArray": (_POINTER,),
    "hipSignalExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "hipWaitExternalSemaphoresAsync": (_POINTER, _POINTER, _UINT, _POINTER),
    "hipModuleLaunchKernel": (_POINTER, *[_UINT] * 7, _POINTER, _POINTER, _POINTER),
}


# hip-python opens a library at the first call into it, and must not do that from two threads at once: one then
# reads a path that the other has given back, or leaves the library's handle empty for both.
_opening = threading.Lock()


class Driver:
    """The loaded binding and library. One per backend; owns nothing that would need closing."""

    def __init__(self) -> None:
        self.hip: Any = importlib.import_module("rocm.bindings.hip")
        self._current = threading.local()
        self.streams: dict[int, int] = {}
        """Device of each stream that is open or was leaked, by address."""
        self._functions: dict[str, Callable[..., int]] = {}
        self._using: dict[int, Callable[[], None]] = {}
        self._compiler_open = False
        with _opening:
            self.runtime_version: int = int(self.call("hipRuntimeGetVersion"))
        self.library = _loaded_library()

    @functools.cached_property
    def hiprtc(self) -> Any:
        """The binding of the compiler, imported by the first who compiles."""
        try:
            return importlib.import_module("rocm.bindings.hiprtc")
        except ImportError as error:
            raise Unsupported("hiprtc", f"its binding cannot be imported: {error}; {INSTALL_HINT}") from error

    def call(self, name: str, *args: object, hints: Mapping[int, str] = _NO_HINTS) -> Any:
        """Call a function of hip-python and return what it gives besides the status.

        ``hints`` says what a status means for this call. Raises what :meth:`check` raises.
        """
        try:
            status, *results = getattr(self.hip, name)(*args)
        except (RuntimeError, ValueError) as error:
            raise _unanswered(name, error) from error
        if status:
            self.check(name, int(status), hints)
        return results[0] if results else None

    def create(self, name: str, *args: object, hints: Mapping[int, str] = _NO_HINTS) -> int:
        """Call a function that makes something, and return the address of what it made."""
        try:  # as in call, and not by it: each import calls this twice
            status, made = getattr(self.hip, name)(*args)
        except (RuntimeError, ValueError) as error:
            raise _unanswered(name, error) from error
        if status:
            self.check(name, int(status), hints)
        if made is None:
            raise DriverError(name, 0, text="reported success and returned no object")
        return int(made)

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

    def raw(self, name: str) -> Callable[..., int]:
        """Return a prepared function of the library. Raises :class:`Unsupported` when it has none."""
        found = self._functions.get(name)
        if found is None:
            try:
                function = self.library[name]
            except AttributeError as error:
                raise Unsupported(name, "the HIP runtime does not export it") from error
            function.argtypes = _RAW[name]
            function.restype = ctypes.c_int
            found = self._functions[name] = function
        return found

    def exports(self, name: str) -> bool:
        """Whether the library has a function of that name."""
        return hasattr(self.library, name)

    def check(self, function: str, code: int, hints: Mapping[int, str] = _NO_HINTS) -> None:
        """Raise the error that a status other than 0 stands for.

        :class:`BackendUnavailable` where there is no device, :class:`Unsupported` for what the runtime does
        not offer, else :class:`DriverError` with the hint for that status.
        """
        if code == 0:
            return
        name, text = self._words(code)
        words = " ".join(part for part in (name, f"({text})" if text else "") if part)
        if code in NO_DEVICE:
            raise BackendUnavailable("hip", f"{function} returned {code} {words}", INSTALL_HINT)
        if code == NOT_SUPPORTED:
            raise Unsupported(function, f"the HIP runtime returned {code} {words}")
        raise DriverError(function, code, name, text, hint=hints.get(code, ""))

    def use(self, device: int) -> None:
        """Make ``device`` current in this thread, once per thread. For calls that name a stream."""
        if getattr(self._current, "device", None) != device:
            self.select(device)

    def using(self, device: int) -> Callable[[], None]:
        """Return what does :meth:`use`: the same for the same device."""
        return self._using.setdefault(device, functools.partial(self.use, device))

    def select(self, device: int) -> None:
        """Make ``device`` current in this thread, even when another library has changed it since.

        For calls that allocate, import or create on the current device.
        """
        code = self.raw("hipSetDevice")(device)
        if code:
            self.check("hipSetDevice", code)
        self._current.device = device

    @contextlib.contextmanager
    def releasing(self, device: int) -> Generator[None]:
        """``with`` this, give back what belongs to ``device``.

        Where the device cannot be made current things are given back all the same, and that is raised after.
        """
        failure: InteropError | None = None
        try:
            self.select(device)
        except InteropError as error:
            failure = error
        yield
        if failure is not None:
            raise failure

    def ended(self, query: str, address: int, timeout: float) -> bool:
        """Poll ``hipStreamQuery`` or ``hipEventQuery`` for ``timeout`` seconds; return whether it ended.

        HIP's own waits have no timeout. Raises what :meth:`check` raises when the work failed.
        """
        ask = self.raw(query)
        code = poll(lambda: ask(address), NOT_READY, timeout)
        if code == NOT_READY:
            return False
        self.check(query, code)
        return True

    def settle(self, device: int, leaked: str) -> None:
        """Wait for all streams of a device before ``hipFree``, which would wait for them without bound.

        Raises :class:`WaitTimeout` when one goes on for longer than :data:`PATIENCE`; the caller then leaks
        what it wanted to free, because a leak is better than a hang.
        """
        deadline = time.monotonic() + PATIENCE
        for address, place in tuple(self.streams.items()):
            with contextlib.suppress(DriverError):  # failed work has ended too
                if place == device and not self.ended("hipStreamQuery", address, deadline - time.monotonic()):
                    raise WaitTimeout(f"HIP stream 0x{address:x}, so {leaked} is leaked", PATIENCE)

    def _words(self, code: int) -> tuple[str, str]:
        try:
            status = self.hip.hipError_t(code)
        except ValueError:
            return "", ""
        text: Any = ""
        if self.exports("hipGetErrorString"):
            text = self.hip.hipGetErrorString(status)
            text = text[-1] if isinstance(text, tuple) else text
        return str(status.name), _text(text)

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


def bare(function: Callable[..., int]) -> Callable[..., int]:
    """Return a function of the runtime for arguments that are ctypes objects already: it converts none of them.

    For calls with the same arguments each time.
    """
    found: Any = function
    return _at(ctypes.cast(found, ctypes.c_void_p).value or 0)


@functools.cache
def _at(address: int) -> Callable[..., int]:
    return ctypes.CFUNCTYPE(ctypes.c_int)(address)


def _text(value: object) -> str:
    raw = bytes(value) if isinstance(value, (bytes, bytearray)) else getattr(value, "decode", None)
    if isinstance(raw, bytes):
        return raw.split(b"\0", 1)[0].decode(errors="replace")
    return str(raw()) if callable(raw) else str(value)


def text_of(value: object) -> str:
    """Decode a C string as hip-python returns it: bytes that may be padded with zeros."""
    return _text(value)


def _code_in(message: str) -> int:
    found = re.search(r"-?\d+", message)
    return int(found.group()) if found else -1


def _unanswered(function: str, error: RuntimeError | ValueError) -> InteropError:
    """Return what an exception of hip-python in place of a status stands for."""
    if isinstance(
        error, ValueError
    ):  # hipError_t(code) fails inside for a code that the binding does not know
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
