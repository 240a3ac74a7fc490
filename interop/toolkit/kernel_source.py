"""The parser of portable kernel sources, and the checks of a launch's arguments."""

from __future__ import annotations

import math
import re
from typing import TYPE_CHECKING, Any

from interop.protocols import DTYPES, ArgumentError, CompileError, Parameter, Signature

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


_COMMENT = re.compile(r'"(?:\\.|[^"\\])*"|//[^\n]*|/\*.*?\*/', re.DOTALL)


_KERNEL = re.compile(r"\bKERNEL\s+void\s+([A-Za-z_]\w*)\s*\(([^()]*)\)\s*\{")


_NOISE = re.compile(r"\b(GLOBAL_MEM|CONSTANT_MEM|LOCAL_MEM|const|volatile|restrict|__restrict__)\b")


_MAX_DIMENSIONS = 3
_SPELLINGS = {
    "bool": "bool",
    "int8": "int8_t, char, signed char",
    "uint8": "uint8_t, unsigned char, uchar",
    "int16": "int16_t, short",
    "uint16": "uint16_t, unsigned short, ushort",
    "int32": "int32_t, int, signed int",
    "uint32": "uint32_t, unsigned, unsigned int, uint",
    "int64": "int64_t, long, long long",
    "uint64": "uint64_t, unsigned long, unsigned long long, ulong, size_t",
    "float16": "half",
    "float32": "float",
    "float64": "double",
}
_C_TYPES = {name: dtype for dtype, names in _SPELLINGS.items() for name in names.split(", ")}


def parse_kernels(source: str) -> dict[str, Signature]:
    """Return the signatures of all kernels in a portable source.

    Raises:
        ArgumentError: The source has no kernel, or a parameter cannot be parsed.
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
            raise ArgumentError(f"cannot read parameter {part.strip()!r} of kernel {kernel!r}")
        c_type = " ".join(found.group(1).split())
        dtype = DTYPES.get(_C_TYPES.get(c_type, ""))
        parameters.append(Parameter(found.group(3), c_type, bool(found.group(2) or found.group(4)), dtype))
    return parameters


def pick_source(
    backend: str, source: str | Mapping[str, str], prelude: str
) -> tuple[str, Mapping[str, Signature]]:
    """Return the text to compile for a backend, and the signatures of its kernels.

    Args:
        backend: Name of the backend.
        source: Portable source; or a mapping with an entry of the backend's name, in the API's own language, or a
            ``"portable"`` entry.
        prelude: Defines the vocabulary. ``#line`` keeps the compiler's messages on the caller's line numbers.

    Raises:
        CompileError: The mapping has neither entry.
        ArgumentError: As :func:`parse_kernels`.
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
    known = ", ".join(map(str, signatures.values()))
    return ArgumentError(f"no kernel {name!r} in the source; it has: {known}")


def check_arguments(signature: Signature, args: Sequence[object]) -> None:
    """Check count and scalar types of a launch's arguments before the driver is called.

    Scalars must be NumPy scalars (anything with a ``dtype`` and no shape) of exactly the parameter's type, because
    drivers reinterpret the bytes of any other.

    Raises:
        ArgumentError: Names the parameter.
    """
    if len(args) != len(signature.parameters):
        raise ArgumentError(f"{signature} takes {len(signature.parameters)} arguments, got {len(args)}")
    for position, (parameter, argument) in enumerate(zip(signature.parameters, args, strict=True), 1):
        is_scalar = getattr(argument, "shape", None) == ()
        if parameter.pointer:
            if is_scalar or isinstance(argument, (float, str, bytes)):
                raise _unfit(signature, position, "memory", repr(argument))
        elif not is_scalar:
            dtype = parameter.dtype
            wanted = f"numpy.{dtype}" if dtype else f"a NumPy scalar for {parameter.c_type}"
            raise _unfit(signature, position, f"{wanted}(...)", repr(argument))
        elif parameter.dtype is not None and (given := _name(argument)) != parameter.dtype.name:
            raise _unfit(signature, position, f"numpy.{parameter.dtype}", f"numpy.{given}")


def _unfit(signature: Signature, position: int, needs: str, given: str) -> ArgumentError:
    parameter = signature.parameters[position - 1]
    return ArgumentError(f"argument {position} ({parameter}) of {signature.name} needs {needs}, got {given}")


def _name(scalar: Any) -> str:
    dtype = getattr(scalar, "dtype", "")
    found = _names.get(dtype)
    if found is None:
        found = _names[dtype] = str(dtype)
    return found


_names: dict[object, str] = {}
"""Names of NumPy's data types, which NumPy puts together anew for each question."""


def check_grid(
    kernel: str, global_size: int | Sequence[int] | None, local_size: int | Sequence[int] | None, limit: int
) -> tuple[tuple[int, ...], tuple[int, ...] | None]:
    """Return the grid and the group as tuples of equal length.

    Args:
        kernel: Name of the kernel.
        global_size: Work items in one to three dimensions.
        local_size: Work items of a group; None leaves the group to the backend.
        limit: Work items of the device's largest group.

    Raises:
        ArgumentError: The grid is missing, empty, not positive or has more than three dimensions; or the group is
            too large or has another number of dimensions.
    """

    def extents(name: str, value: int | Sequence[int] | None) -> tuple[int, ...]:
        if value is None:
            raise ArgumentError(f"{kernel} needs {name}=..., the number of work items in each dimension")
        raw = (value,) if isinstance(value, int) else tuple(value)
        if not 0 < len(raw) <= _MAX_DIMENSIONS or any(int(extent) != extent or extent <= 0 for extent in raw):
            raise ArgumentError(f"{name} of {kernel} must be 1 to 3 positive integers, got {value!r}")
        return tuple(int(extent) for extent in raw)

    grid = extents("global_size", global_size)
    if local_size is None:
        return grid, None
    group = extents("local_size", local_size)
    if len(group) != len(grid) or math.prod(group) > limit:
        wanted = f"{len(grid)} dimensions and at most {limit} work items"
        raise ArgumentError(f"local_size of {kernel} must have {wanted}, got {local_size!r}")
    return grid, group
