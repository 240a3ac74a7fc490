"""Portable kernels on the host: a C compiler, ctypes, and a loop over the grid."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np  # noqa: TID253 - this module is imported by load() only

from interop.errors import ArgumentError, BackendUnavailable, ClosedError, CompileError, Unsupported
from interop.kernels import check_arguments, check_grid, pick_source, unknown_kernel
from interop_numpy.memory import HostBuffer
from interop_numpy.stream import HostStream

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from interop.kernels import Signature
    from interop.semaphore import Stream

_GROUP_LIMIT = 1024  # work items run one after the other, so any limit would do; this one is common
_COMPILE_SECONDS = 120
# -w: the prelude and the loops below must not add warnings to an error log; without contraction a * b + c is
# rounded on every processor as NumPy rounds it.
_FLAGS = ("-x", "c", "-std=gnu11", "-O2", "-fPIC", "-shared", "-w", "-ffp-contract=off")

_PRELUDE = """
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <tgmath.h>
typedef unsigned char uchar;
typedef unsigned short ushort;
typedef unsigned int uint;
typedef unsigned long ulong;
static _Thread_local struct { size_t id[3], grid[3], group[3]; } interop_item;
#define KERNEL static
#define DEVICE_FUNCTION static inline
#define GLOBAL_MEM
#define CONSTANT_MEM const
#define GLOBAL_ID(d) (interop_item.id[d])
#define GLOBAL_SIZE(d) (interop_item.grid[d])
#define LOCAL_ID(d) (interop_item.id[d] % interop_item.group[d])
#define LOCAL_SIZE(d) (interop_item.group[d])
#define GROUP_ID(d) (interop_item.id[d] / interop_item.group[d])
#define NUM_GROUPS(d) ((interop_item.grid[d] + interop_item.group[d] - 1) / interop_item.group[d])
"""

# One exported function per kernel: it takes the addresses of the arguments, the grid and the group.
_LAUNCHER = """
void interop_run_{name}(void **arguments, const size_t *grid, const size_t *group)
{{
    for (int d = 0; d < 3; d++) {{
        interop_item.grid[d] = grid[d];
        interop_item.group[d] = group[d];
    }}
    for (interop_item.id[2] = 0; interop_item.id[2] < grid[2]; interop_item.id[2]++)
        for (interop_item.id[1] = 0; interop_item.id[1] < grid[1]; interop_item.id[1]++)
            for (interop_item.id[0] = 0; interop_item.id[0] < grid[0]; interop_item.id[0]++)
                {name}({arguments});
}}
"""

# Both need work items that run at the same time; a loop has one at a time.
_WORK_GROUPS = re.compile(r"\b(LOCAL_BARRIER|LOCAL_MEM)\b")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.DOTALL)


def find_compiler() -> list[str]:
    """Return the command of a C compiler: ``SOFTGPU_CXX``, ``CC``, cc, gcc, clang, or the package ziglang.

    Raises :class:`BackendUnavailable` where there is none.
    """
    for variable in ("SOFTGPU_CXX", "CC"):
        command = shlex.split(os.environ.get(variable, ""))
        if command:
            return command
    for name in ("cc", "gcc", "clang"):
        path = shutil.which(name)
        if path is not None:
            return [path]
    if importlib.util.find_spec("ziglang") is not None:
        return [sys.executable, "-m", "ziglang", "cc"]
    raise BackendUnavailable(
        "numpy", "kernels need a C compiler", "install gcc or clang, or: pip install ziglang"
    )


def _arguments(signature: Signature) -> str:
    """Write the call's arguments: ``arguments[i]`` is the address of the i-th, a ``void *`` for memory."""
    return ", ".join(
        f"*({'void *' if parameter.pointer else parameter.c_type} *)arguments[{index}]"
        for index, parameter in enumerate(signature.parameters)
    )


class _Library:
    """A compiled shared object, unloaded when the last launch and the last kernel let go of it."""

    def __init__(self, text: str) -> None:
        compiler = find_compiler()
        with tempfile.TemporaryDirectory(prefix="interop-numpy-") as folder:
            source, output = Path(folder, "kernel.c"), Path(folder, "kernel.so")
            source.write_text(text, encoding="utf-8")
            try:
                done = subprocess.run(  # noqa: S603 - the user's own compiler
                    [*compiler, *_FLAGS, str(source), "-o", str(output), "-lm"],
                    capture_output=True,
                    cwd=folder,
                    check=False,
                    encoding="utf-8",
                    errors="replace",
                    timeout=_COMPILE_SECONDS,
                )
            except (OSError, subprocess.TimeoutExpired) as error:
                raise CompileError("numpy", f"{shlex.join(compiler)} did not run: {error}") from error
            if done.returncode != 0:
                raise CompileError(
                    "numpy", done.stderr or f"{shlex.join(compiler)} returned {done.returncode}"
                )
            self._library = ctypes.CDLL(str(output))  # stays mapped when the folder has gone
        unload: Any = ctypes.CDLL(None).dlclose
        weakref.finalize(self, unload, ctypes.c_void_p(self._library._handle)).atexit = False  # noqa: SLF001 - public in all but name

    def launcher(self, name: str) -> Any:
        """Return the launcher of a kernel; calling it releases the GIL."""
        function = self._library[f"interop_run_{name}"]
        function.restype = None
        return function


class HostModule:
    """A compiled source."""

    def __init__(self, source: str | Mapping[str, str], stream: HostStream) -> None:
        text, self._signatures = pick_source("numpy", source, _PRELUDE)
        found = _WORK_GROUPS.search(_COMMENT.sub("", text))
        if found is not None:
            raise Unsupported(found.group(), "NumPy runs the work items of a kernel one after the other")
        launchers = (
            _LAUNCHER.format(name=name, arguments=_arguments(signature))
            for name, signature in self._signatures.items()
        )
        self._library: _Library | None = _Library(f'{text}\n#line 1 "launchers"\n{"".join(launchers)}')
        self._stream = stream

    def kernel(self, name: str) -> HostKernel:
        """Return a kernel by name."""
        if self._library is None:
            msg = "this module was closed"
            raise ClosedError(msg)
        if name not in self._signatures:
            raise unknown_kernel(name, self._signatures)
        return HostKernel(self._signatures[name], self._library, self._stream, lambda: self._library is None)

    def close(self) -> None:
        """Refuse further launches; the library goes when those in flight have ended."""
        self._library = None


class HostKernel:
    """A kernel of a :class:`HostModule`."""

    def __init__(
        self, signature: Signature, library: _Library, stream: HostStream, closed: Callable[[], bool]
    ) -> None:
        self.signature = signature
        self._library = library
        self._launcher = library.launcher(signature.name)
        self._stream = stream
        self._closed = closed

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel on a :class:`HostStream`. Without ``local_size`` a group is one work item."""
        self.prepare(*args, global_size=global_size, local_size=local_size, stream=stream)()

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Callable[[], None]:
        """Resolve arguments and grid once. What is returned keeps the memory mapped as long as it lives."""
        if self._closed():
            msg = f"the module of kernel {self.signature.name} was closed"
            raise ClosedError(msg)
        chosen = stream or self._stream
        if not isinstance(chosen, HostStream):
            msg = f"kernel {self.signature.name} needs a stream of NumPy's own, got {chosen!r}"
            raise ArgumentError(msg)
        check_arguments(self.signature, args)
        grid, group = check_grid(self.signature.name, global_size, local_size, _GROUP_LIMIT)
        extents = ctypes.c_size_t * 3
        held = [self._argument(position, argument) for position, argument in enumerate(args, 1)]
        launch = (
            (ctypes.c_void_p * len(args))(*(address for address, _ in held)),
            extents(*grid, *[1] * (3 - len(grid))),
            extents(*(group or ()), *[1] * (3 - len(group or ()))),
        )
        launcher = self._launcher

        def run(_kept_alive: object = (self._library, held)) -> None:
            launcher(*launch)

        views = [each for each in args if isinstance(each, HostBuffer)]

        def enqueue() -> None:
            if self._closed():
                msg = f"the module of kernel {self.signature.name} was closed"
                raise ClosedError(msg)
            for view in views:
                view.check_open()
            chosen.enqueue(run)

        return enqueue

    def _argument(self, position: int, argument: object) -> tuple[int, object]:
        """Return the address of what C reads for an argument, and the object that keeps it alive."""
        parameter = self.signature.parameters[position - 1]
        if not parameter.pointer:
            scalar = np.array(argument)
            return scalar.ctypes.data, scalar
        memory = argument.native if isinstance(argument, HostBuffer) else argument
        if not isinstance(memory, np.ndarray) or not memory.flags.c_contiguous:
            msg = (
                f"argument {position} ({parameter}) of {self.signature.name} needs a NumPy array without "
                f"gaps or a view of this backend, got {argument!r}"
            )
            raise ArgumentError(msg)
        pointer = ctypes.c_void_p(memory.ctypes.data)
        return ctypes.addressof(pointer), (pointer, memory)
