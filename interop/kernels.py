"""Portable kernels: one source for every consumer.

The source is C in the CLUDA vocabulary, which a prelude per consumer maps to its language:

========================= ======================================================================
``KERNEL void name(...)``  a kernel; ``DEVICE_FUNCTION`` marks helpers
``GLOBAL_MEM T *p``        pointer to device memory (an argument); ``CONSTANT_MEM`` for read-only
``LOCAL_MEM T a[N]``       memory shared by a work group; ``LOCAL_BARRIER`` orders it
``GLOBAL_ID(d)``           index of the work item; ``LOCAL_ID(d)``, ``GROUP_ID(d)``
``GLOBAL_SIZE(d)``         extent of the grid; ``LOCAL_SIZE(d)``, ``NUM_GROUPS(d)``
========================= ======================================================================

Dimension 0 runs fastest. Grids are given in work items, as in OpenCL; where the API wants whole groups
(HIP, CUDA) the grid is rounded up, so kernels must check their bounds.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from interop.dtypes import DTYPES, DType
from interop.errors import ArgumentError, CompileError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from interop.semaphore import Stream

_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)
_KERNEL = re.compile(r"\bKERNEL\s+void\s+([A-Za-z_]\w*)\s*\(([^()]*)\)\s*\{")
_NOISE = re.compile(r"\b(GLOBAL_MEM|CONSTANT_MEM|LOCAL_MEM|const|volatile|restrict|__restrict__)\b")
_MAX_DIMENSIONS = 3

_C_TYPES = {
    "bool": "bool",
    "char": "int8",
    "signed char": "int8",
    "unsigned char": "uint8",
    "uchar": "uint8",
    "short": "int16",
    "unsigned short": "uint16",
    "ushort": "uint16",
    "int": "int32",
    "signed int": "int32",
    "unsigned": "uint32",
    "unsigned int": "uint32",
    "uint": "uint32",
    "long long": "int64",
    "unsigned long long": "uint64",
    "ulong": "uint64",
    "long": "int64",
    "unsigned long": "uint64",
    "size_t": "uint64",
    "half": "float16",
    "float": "float32",
    "double": "float64",
    **{f"int{bits}_t": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}_t": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One parameter of a kernel."""

    name: str
    c_type: str
    """Its type as written, without qualifiers."""
    pointer: bool
    """Takes memory."""
    dtype: DType | None
    """Element type; ``None`` for one that NumPy has no word for (structures, vectors)."""

    def __str__(self) -> str:
        return f"{self.c_type} {'*' if self.pointer else ''}{self.name}"


@dataclass(frozen=True, slots=True)
class Signature:
    """Name and parameters of a kernel, as read from the source."""

    name: str
    parameters: tuple[Parameter, ...]

    def __str__(self) -> str:
        return f"{self.name}({', '.join(map(str, self.parameters))})"


@runtime_checkable
class Launch(Protocol):
    """A kernel with its arguments, grid and stream, all of it prepared. Valid as long as module and memory are."""

    def __call__(self) -> None:
        """Enqueue it once more; does not wait for it. Any thread. Raises :class:`ClosedError` after a close."""
        ...


@runtime_checkable
class Kernel(Protocol):
    """A compiled kernel, ready to be launched."""

    @property
    def signature(self) -> Signature:
        """Name and parameters."""
        ...

    def __call__(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> None:
        """Enqueue the kernel; does not wait for it.

        Memory is given as a :class:`interop.memory.MappedBuffer` or as the API's native object, scalars as
        NumPy scalars of exactly the parameter's type. ``global_size`` counts work items per dimension.
        Raises :class:`ArgumentError`, naming the parameter, before the driver is called.
        """
        ...

    def prepare(
        self,
        *args: object,
        global_size: int | Sequence[int],
        local_size: int | Sequence[int] | None = None,
        stream: Stream | None = None,
    ) -> Launch:
        """Do once what does not change from launch to launch, and return a function without arguments.

        Takes and raises what a call does; enqueues nothing. The values of scalars are those of now.
        """
        ...


@runtime_checkable
class Module(Protocol):
    """A compiled source."""

    def kernel(self, name: str) -> Kernel:
        """Return a kernel by name. Raises :class:`ArgumentError`, listing the names that exist."""
        ...

    def close(self) -> None:
        """Unload it. Launches must have ended. A second call does nothing."""
        ...


def parse_kernels(source: str) -> dict[str, Signature]:
    """Read the signatures of all kernels in a portable source.

    Raises :class:`ArgumentError` when there is none, or when a parameter cannot be read.
    """
    blank = _COMMENT.sub(lambda found: re.sub(r"[^\n]", " ", found.group()), source)
    signatures = {
        name: Signature(name, tuple(_parameters(name, text))) for name, text in _KERNEL.findall(blank)
    }
    if not signatures:
        msg = "the source holds no kernel; declare one as: KERNEL void name(GLOBAL_MEM float *data, int n) { ... }"
        raise ArgumentError(msg)
    return signatures


def _parameters(kernel: str, text: str) -> list[Parameter]:
    parameters: list[Parameter] = []
    for part in text.split(","):
        words = _NOISE.sub(" ", part).strip()
        if not words or (words == "void" and "," not in text):
            continue
        found = re.match(
            r"^(.*?)(\**)\s*([A-Za-z_]\w*)\s*(\[\s*\])?$", words.replace(" *", "*").replace("* ", "*")
        )
        if found is None or not found.group(1).strip():
            msg = f"cannot read parameter {part.strip()!r} of kernel {kernel!r}"
            raise ArgumentError(msg)
        c_type = " ".join(found.group(1).split())
        dtype = DTYPES.get(_C_TYPES.get(c_type, ""))
        parameters.append(Parameter(found.group(3), c_type, bool(found.group(2) or found.group(4)), dtype))
    return parameters


def pick_source(
    backend: str, source: str | Mapping[str, str], prelude: str
) -> tuple[str, Mapping[str, Signature]]:
    """Return the text to compile for a backend, and the kernels in it.

    A plain string, or the mapping's ``"portable"`` entry, gets the backend's prelude; an entry named after
    the backend is taken as it is, in the API's own language (the vocabulary is still defined). ``#line``
    keeps the compiler's messages on the caller's own line numbers.
    """
    if not isinstance(source, str):
        chosen = source.get(backend, source.get("portable"))
        if chosen is None:
            msg = f"no source for {backend!r} and no 'portable' one; the mapping has: {', '.join(source)}"
            raise CompileError(backend, msg)
        source = chosen
    return f'{prelude}\n#line 1 "kernel"\n{source}', parse_kernels(source)


def unknown_kernel(name: str, signatures: Mapping[str, Signature]) -> ArgumentError:
    """Return the error for a kernel name that the module does not have."""
    return ArgumentError(
        f"no kernel {name!r} in the source; it has: {', '.join(map(str, signatures.values()))}"
    )


def check_arguments(signature: Signature, args: Sequence[object]) -> None:
    """Check count and scalar types of a launch, before the driver is called.

    Scalars must be NumPy scalars (anything with a ``dtype`` and no shape) of exactly the parameter's type:
    drivers reinterpret the bytes of any other. Raises :class:`ArgumentError`, naming the parameter.
    """
    if len(args) != len(signature.parameters):
        msg = f"{signature} takes {len(signature.parameters)} arguments, got {len(args)}"
        raise ArgumentError(msg)
    for position, (parameter, argument) in enumerate(zip(signature.parameters, args, strict=True), 1):
        given = str(getattr(argument, "dtype", ""))
        is_scalar = getattr(argument, "shape", None) == ()
        if parameter.pointer:
            if is_scalar or isinstance(argument, (float, str, bytes)):
                msg = f"argument {position} ({parameter}) of {signature.name} needs memory, got {argument!r}"
                raise ArgumentError(msg)
        elif not is_scalar:
            wanted = (
                f"numpy.{parameter.dtype}" if parameter.dtype else f"a NumPy scalar for {parameter.c_type}"
            )
            msg = (
                f"argument {position} ({parameter}) of {signature.name} needs {wanted}(...), got {argument!r}"
            )
            raise ArgumentError(msg)
        elif parameter.dtype is not None and given != parameter.dtype.name:
            needs = f"needs numpy.{parameter.dtype}, got numpy.{given}"
            msg = f"argument {position} ({parameter}) of {signature.name} {needs}"
            raise ArgumentError(msg)


def check_grid(
    kernel: str, global_size: int | Sequence[int] | None, local_size: int | Sequence[int] | None, limit: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the grid and the group as tuples of equal length.

    ``limit`` is the device's largest group. Raises :class:`ArgumentError` for a missing, empty, zero or
    negative grid, more than three dimensions, or a group that is too large or of another rank.
    """

    def extents(name: str, value: int | Sequence[int] | None) -> tuple[int, ...]:
        if value is None:
            msg = f"{kernel} needs {name}=..., the number of work items in each dimension"
            raise ArgumentError(msg)
        raw = (value,) if isinstance(value, int) else tuple(value)
        if not 0 < len(raw) <= _MAX_DIMENSIONS or any(int(extent) != extent or extent <= 0 for extent in raw):
            msg = f"{name} of {kernel} must be 1 to 3 positive integers, got {value!r}"
            raise ArgumentError(msg)
        return tuple(int(extent) for extent in raw)

    grid = extents("global_size", global_size)
    if local_size is None:
        return grid, None
    group = extents("local_size", local_size)
    items = 1
    for extent in group:
        items *= extent
    if len(group) != len(grid) or items > limit:
        wanted = f"{len(grid)} dimensions and at most {limit} work items"
        msg = f"local_size of {kernel} must have {wanted}, got {local_size!r}"
        raise ArgumentError(msg)
    return grid, group
