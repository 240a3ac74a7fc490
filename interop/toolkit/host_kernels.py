"""Portable kernels on the processor: C text in which each kernel is a loop over its grid.

:func:`to_c` writes the text and :func:`compile_c` compiles it to a shared library, which the backend loads. For each
kernel the library exports::

    void interop_run_NAME(void **arguments, const size_t *grid, const size_t *group)

where ``arguments[i]`` is the address of the i-th argument, a ``void *`` for memory, and grid and group have three
extents. Its static state is one per thread, so that streams may run kernels at the same time.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from interop.protocols import BackendUnavailable, CompileError, Unsupported
from interop.toolkit.kernel_source import pick_source

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

    from interop.protocols import Signature

GROUP_LIMIT = 1024
"""Work items of the largest group. They run one after the other, so any limit would do; this one is common."""
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


def to_c(backend: str, source: str | Mapping[str, str]) -> tuple[str, Mapping[str, Signature]]:
    """Return the C text of a portable source, with a launcher for each kernel, and the signatures of the kernels.

    Raises:
        Unsupported: The source uses local memory or barriers.
        CompileError: As :func:`interop.toolkit.pick_source`.
        ArgumentError: As :func:`interop.toolkit.pick_source`.
    """
    text, signatures = pick_source(backend, source, _PRELUDE)
    found = _WORK_GROUPS.search(_COMMENT.sub("", text))
    if found is not None:
        raise Unsupported(found.group(), f"{backend} runs the work items of a kernel one after the other")
    launchers = (_LAUNCHER.format(name=each.name, arguments=_arguments(each)) for each in signatures.values())
    return f'{text}\n#line 1 "launchers"\n{"".join(launchers)}', signatures


def _arguments(signature: Signature) -> str:
    return ", ".join(
        f"*({'void *' if parameter.pointer else parameter.c_type} *)arguments[{index}]"
        for index, parameter in enumerate(signature.parameters)
    )


def find_compiler(backend: str = "numpy") -> list[str]:
    """Return the command of a C compiler: ``SOFTGPU_CXX``, ``CC``, cc, gcc, clang, or the package ziglang.

    Raises:
        BackendUnavailable: There is no compiler.
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
        backend, "kernels need a C compiler", "install gcc or clang, or: pip install ziglang"
    )


@contextlib.contextmanager
def compile_c(backend: str, text: str) -> Generator[Path]:
    """Compile C text and yield the path of the shared library. The file exists inside the block only.

    Raises:
        CompileError: Holds the compiler's own words.
        BackendUnavailable: There is no compiler.
    """
    compiler = find_compiler(backend)
    with tempfile.TemporaryDirectory(prefix=f"interop-{backend}-") as folder:
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
            raise CompileError(backend, f"{shlex.join(compiler)} did not run: {error}") from error
        if done.returncode != 0:
            raise CompileError(backend, done.stderr or f"{shlex.join(compiler)} returned {done.returncode}")
        yield output
