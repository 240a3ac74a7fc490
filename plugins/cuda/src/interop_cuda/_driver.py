"""The CUDA driver and NVRTC as this backend calls them.

The driver's functions are called through ctypes: with argument types set, without wrapper objects, the GIL released.
cuda-bindings finds, opens and serves NVRTC. The first compilation imports it: importing its part for the driver takes
longer than all modules of this backend together.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
import sys
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from interop.protocols import BackendUnavailable, DriverError, Unsupported
from interop.toolkit import DriverLibrary
from interop_cuda._abi import FUNCTIONS, NO_DEVICE, NOT_SUPPORTED
from interop_cuda._install import INSTALL_HINT

if TYPE_CHECKING:
    from collections.abc import Mapping

_COMPILATION_FAILED = 6  # NVRTC_ERROR_COMPILATION
_LIBRARY = "libcuda.so.1"
_WINDOWS_LIBRARY = "nvcuda.dll"

# The meaning of a driver's refusal to start.
_START_HINTS: Mapping[int, str] = MappingProxyType(
    {
        34: "this libcuda is the toolkit's stub for linking; let the driver's own be found first",
        NO_DEVICE: "no NVIDIA GPU is visible; look at nvidia-smi and CUDA_VISIBLE_DEVICES",
        803: "libcuda and the kernel module are of different versions; reboot or reinstall the driver",
        804: "the forward-compatibility libcuda does not serve this GPU; use the driver's own",
    }
)


class Driver(DriverLibrary):
    """The loaded driver. One per backend; owns nothing that needs closing."""

    backend = "cuda"
    title = "the CUDA driver"
    install_hint = INSTALL_HINT
    functions = FUNCTIONS
    no_device = frozenset({NO_DEVICE})
    not_supported = NOT_SUPPORTED

    def __init__(self) -> None:
        super().__init__(_open_library())
        code = self.raw("cuInit")(0)
        if code:
            reason = f"cuInit returned {code} {' '.join(self.describe(code))}".rstrip()
            raise BackendUnavailable("cuda", reason, _START_HINTS.get(code, INSTALL_HINT))

    @functools.cached_property
    def _nvrtc(self) -> Any:
        """The binding of the compiler, imported by the first compilation."""
        try:
            return importlib.import_module("cuda.bindings.nvrtc")
        except ImportError as error:
            raise Unsupported("NVRTC", f"its binding cannot be imported: {error}; {INSTALL_HINT}") from error

    def number(self, name: str, *args: object) -> int:
        """Call a function whose first argument takes a number (at most 64 bits), and return the number."""
        value = ctypes.c_uint64()
        self.call(name, ctypes.byref(value), *args)
        return value.value

    def text(self, name: str, device: int, size: int = 256) -> str:
        """Call a function that writes text about a device, and return it."""
        buffer = ctypes.create_string_buffer(size)
        self.call(name, buffer, size, device)
        return buffer.value.decode(errors="replace")

    def describe(self, code: int) -> tuple[str, str]:
        """Return the driver's name and text of a status."""
        words: list[str] = []
        for name in ("cuGetErrorName", "cuGetErrorString"):
            found = ctypes.c_char_p()
            known = self.exports(name) and self.raw(name)(code, ctypes.byref(found)) == 0
            words.append((found.value or b"").decode(errors="replace") if known else "")
        return words[0], words[1]

    def compile(self, text: str, name: str, capability: int) -> tuple[bytes | None, str]:
        """Compile CUDA C++ for a device of compute capability ``capability`` (90 for 9.0).

        Returns the code and the compiler's log; no code when the source is at fault. The code is a binary
        for that very architecture where NVRTC knows it, because drivers refuse PTX of a newer NVRTC but run
        its binaries; else PTX of the nearest older architecture. Raises :class:`Unsupported` without NVRTC.
        """
        known = [int(arch) for arch in self._rtc("nvrtcGetSupportedArchs") if int(arch) <= capability]
        if not known:
            raise Unsupported("NVRTC", f"it does not know compute capability {capability} nor an older one")
        exact = capability in known
        arch = f"sm_{capability}" if exact else f"compute_{max(known)}"
        options = [f"--gpu-architecture={arch}".encode(), b"--std=c++17"]
        program = self._rtc("nvrtcCreateProgram", text.encode(), name.encode(), 0, None, None)
        try:
            code = int(self._nvrtc.nvrtcCompileProgram(program, len(options), options)[0])
            log = self._fetch(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog")
            words = log.split(b"\0", 1)[0].decode(errors="replace")
            if code == _COMPILATION_FAILED:
                return None, words
            self._check_rtc("nvrtcCompileProgram", code, words)
            kind = "CUBIN" if exact else "PTX"
            return self._fetch(program, f"nvrtcGet{kind}Size", f"nvrtcGet{kind}"), words
        finally:
            self._nvrtc.nvrtcDestroyProgram(program)

    def _fetch(self, program: Any, size: str, content: str) -> bytes:
        room = bytearray(self._rtc(size, program))
        if room:
            self._rtc(content, program, room)
        return bytes(room)

    def _rtc(self, name: str, *args: object) -> Any:
        try:
            status, *results = getattr(self._nvrtc, name)(*args)
        except RuntimeError as error:
            raise Unsupported("NVRTC", f"{error}; to fix: {INSTALL_HINT}") from error
        self._check_rtc(name, int(status))
        return results[0] if results else None

    def _check_rtc(self, function: str, code: int, log: str = "") -> None:
        if code:
            raise DriverError(function, code, str(self._nvrtc.nvrtcResult(code).name), log.strip())

    def nvrtc_version(self) -> str:
        """Version of NVRTC, or why there is none."""
        try:
            status, major, minor = self._nvrtc.nvrtcVersion()
        except (RuntimeError, Unsupported) as error:
            return " ".join(str(error).split()) or "not found"
        return f"{major}.{minor}" if int(status) == 0 else f"failed with {int(status)}"

    def cuda_version(self) -> str:
        """The newest CUDA that the driver speaks, for instance ``"13.0"``."""
        version = self.number("cuDriverGetVersion")
        return f"{version // 1000}.{version % 1000 // 10}"

    def versions(self) -> dict[str, str]:
        """Versions of the binding, the driver and NVRTC."""
        import importlib.metadata  # not for connecting, which needs none of this

        try:
            binding = importlib.metadata.version("cuda-bindings")
        except importlib.metadata.PackageNotFoundError:
            binding = "not installed"
        return {
            "cuda-bindings": binding,
            "CUDA driver API": self.cuda_version(),
            "NVIDIA driver": kernel_module(),
            "NVRTC": self.nvrtc_version(),
        }


def kernel_module() -> str:
    """Version of NVIDIA's kernel module, or an empty string where the system does not tell."""
    try:
        text = Path("/proc/driver/nvidia/version").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = re.search(r"\b\d{3,}\.\d+(\.\d+)?\b", text)
    return found.group() if found else ""


def _open_library() -> ctypes.CDLL:
    """Open the driver by its name alone, as cuda-bindings and array libraries do: all of a process share one."""
    try:
        if sys.platform == "win32":
            return ctypes.WinDLL(_WINDOWS_LIBRARY)
        return ctypes.CDLL(_LIBRARY)
    except OSError as error:
        reason = f"the CUDA driver cannot be loaded: {error}"
        raise BackendUnavailable("cuda", reason, INSTALL_HINT) from error
