"""Element types, by their NumPy names.

The module has types of its own, so that `import interop` does not import NumPy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols.arguments import MAX_BYTES, as_integer
from interop.protocols.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import SupportsIndex


@dataclass(frozen=True, slots=True)
class DType:
    """A fixed-size element type."""

    name: str
    """NumPy's name, for instance `"float32"`."""
    itemsize: int
    """Bytes of one element."""
    kind: str
    """NumPy's kind character: `i`, `u`, `f`, `c` or `b`."""
    format: str
    """Format of the buffer protocol (PEP 3118): a character of `struct`, or `Zf` and `Zd` for complex numbers."""

    @property
    def typestr(self) -> str:
        """Type string of NumPy's array interface, little-endian, for instance `"<f4"`."""
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
"""Every element type by name."""

_BY_NAME = {
    **DTYPES,
    **{
        f"{order}{dtype.kind}{dtype.itemsize}": dtype
        for dtype in DTYPES.values()
        for order in ("", "=", "|" if dtype.itemsize == 1 else "<")
    },
    "bool_": DTYPES["bool"],
    "longlong": DTYPES["int64"],
    "ulonglong": DTYPES["uint64"],
}


def as_dtype(dtype: object) -> DType:
    """Return the element type of a name or of another library's type.

    Args:
        dtype: A `DType`; a name such as `"float32"`, `"f4"` or `"<f4"`; a NumPy dtype or scalar type; a dtype of a
            library that uses NumPy's names, such as `torch.float32` or `jax.numpy.float32`.

    Raises:
        InvalidArgument: The type is unknown, structured, big-endian, or holds objects or text.
    """
    if isinstance(dtype, DType):
        return dtype
    found = _BY_NAME.get(_name(dtype))
    if found is None:
        raise InvalidArgument(f"dtype {dtype!r} is unknown; use one of: {', '.join(DTYPES)}")
    return found


def _name(dtype: object) -> str:
    """Return the name under which a library knows its type. It may be no name of ours."""
    if isinstance(dtype, str):
        return dtype
    if isinstance(dtype, type):
        return dtype.__name__
    # A NumPy dtype has both; its name does not tell the byte order. PyTorch writes "torch.float32".
    for name in (getattr(dtype, "str", None), getattr(dtype, "name", None)):
        if isinstance(name, str):
            return name
    return str(dtype).removeprefix("torch.")


def check_shape(shape: SupportsIndex | Iterable[SupportsIndex], dtype: DType) -> tuple[tuple[int, ...], int]:
    """Check the shape of an array.

    Args:
        shape: Extent in elements, row-major: one integer, or one for each dimension.
        dtype: Element type.

    Returns:
        The shape as a tuple of Python integers, and the size of the array in bytes.

    Raises:
        InvalidArgument: The shape is empty, holds a number below 1 or no integer, or needs 2**63 bytes or more.
    """
    given: tuple[object, ...]
    try:
        given = tuple(shape)  # type: ignore[arg-type]  # the error below is ours
    except TypeError:
        given = (shape,)
    if not given:
        raise InvalidArgument("shape must have at least one dimension, got ()")
    dimensions: list[int] = []
    nbytes = dtype.itemsize
    for dimension in given:
        length = as_integer(dimension, "every dimension of shape")
        if length <= 0:
            raise InvalidArgument(f"every dimension of shape must be 1 or more, got {length} in {shape!r}")
        dimensions.append(length)
        nbytes *= length
    if nbytes > MAX_BYTES:
        raise InvalidArgument(f"shape {shape!r} of {dtype.name} needs {nbytes} bytes, more than 2**63 - 1")
    return tuple(dimensions), nbytes
