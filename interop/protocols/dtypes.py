"""Element types, by their NumPy names, without importing NumPy."""

from __future__ import annotations

from dataclasses import dataclass

from interop.protocols.errors import InvalidArgument

_MAX_BYTES = 2**63 - 1


@dataclass(frozen=True, slots=True)
class DType:
    """A fixed-size element type."""

    name: str
    """NumPy's name, for instance ``"float32"``."""
    itemsize: int
    """Bytes of one element."""
    kind: str
    """NumPy's kind character: ``i``, ``u``, ``f``, ``c`` or ``b``."""
    format: str
    """Format character of :mod:`struct` and of the buffer protocol."""

    @property
    def typestr(self) -> str:
        """NumPy's array-interface type string, little-endian, for instance ``"<f4"``."""
        return f"{'|' if self.itemsize == 1 else '<'}{self.kind}{self.itemsize}"

    def __str__(self) -> str:
        return self.name


DTYPES = {
    dtype.name: dtype
    for dtype in (
        DType("bool", 1, "b", "?"),
        DType("int8", 1, "i", "b"),
        DType("uint8", 1, "u", "B"),
        DType("int16", 2, "i", "h"),
        DType("uint16", 2, "u", "H"),
        DType("float16", 2, "f", "e"),
        DType("int32", 4, "i", "i"),
        DType("uint32", 4, "u", "I"),
        DType("float32", 4, "f", "f"),
        DType("int64", 8, "i", "q"),
        DType("uint64", 8, "u", "Q"),
        DType("float64", 8, "f", "d"),
        DType("complex64", 8, "c", "Zf"),
        DType("complex128", 16, "c", "Zd"),
    )
}
_BY_TYPESTR = {dtype.typestr: dtype for dtype in DTYPES.values()}


def as_dtype(dtype: object) -> DType:
    """Return the :class:`DType` for a name, a NumPy dtype, a NumPy scalar type, or a type string.

    Raises :class:`InvalidArgument`, naming the value, for object, string, structured and big-endian types.
    """
    if isinstance(dtype, DType):
        return dtype
    candidates = (
        dtype,
        getattr(dtype, "__name__", None),
        getattr(dtype, "str", None) if not isinstance(dtype, (str, type)) else None,
    )
    for candidate in candidates:
        if isinstance(candidate, str):
            found = DTYPES.get(candidate) or _BY_TYPESTR.get(candidate)
            if found is not None:
                return found
    msg = f"unsupported element type {dtype!r}; use one of: {', '.join(DTYPES)}"
    raise InvalidArgument(msg)


def check_shape(shape: int | tuple[int, ...] | list[int], dtype: DType) -> tuple[tuple[int, ...], int]:
    """Return the shape as a tuple of positive ints and its size in bytes.

    Raises :class:`InvalidArgument`, naming the value, for an empty, zero, negative, non-integer or
    overflowing shape.
    """
    raw: tuple[object, ...] = tuple(shape) if isinstance(shape, (tuple, list)) else (shape,)
    if not raw:
        msg = "shape must have at least one dimension, got ()"
        raise InvalidArgument(msg)
    dimensions: list[int] = []
    nbytes = dtype.itemsize
    for dimension in raw:
        if isinstance(dimension, bool) or not hasattr(dimension, "__index__"):
            msg = f"shape must hold integers, got {dimension!r} in {shape!r}"
            raise InvalidArgument(msg)
        length = dimension.__index__()  # pyright: ignore[reportAttributeAccessIssue,reportUnknownVariableType]
        if length <= 0:
            msg = f"every dimension must be positive, got {length} in {shape!r}"
            raise InvalidArgument(msg)
        dimensions.append(length)
        nbytes *= length
    if nbytes > _MAX_BYTES:
        msg = f"shape {shape!r} of {dtype.name} needs {nbytes} bytes, more than any device can address"
        raise InvalidArgument(msg)
    return tuple(dimensions), nbytes
