"""Image formats: the components of a texel and their bits."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from interop.protocols.arguments import as_choice
from interop.protocols.dtypes import DTYPES
from interop.protocols.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols.dtypes import DType
    from interop.protocols.handles import HandleType

ImageTypes: TypeAlias = "Mapping[Tiling, frozenset[HandleType]]"
"""Handle types of images, by tiling."""

_LETTERS = {1: "r", 2: "rg", 4: "rgba"}


class Numbers(enum.StrEnum):
    """The meaning of a component's bits."""

    UINT = "uint"
    """Unsigned integers."""
    SINT = "sint"
    """Signed integers."""
    UNORM = "unorm"
    """Unsigned integers that shaders read as 0.0 to 1.0. The host reads and writes the integers."""
    FLOAT = "float"
    """IEEE 754 numbers."""


_MISSING = {(8, Numbers.FLOAT), (32, Numbers.UNORM)}
_PREFIX = {Numbers.UINT: "uint", Numbers.SINT: "int", Numbers.UNORM: "uint", Numbers.FLOAT: "float"}


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """The layout of a texel. All its components have the same number of bits and the same meaning.

    Raises:
        InvalidArgument: There is no format of these components.
    """

    components: int
    """Number of components: 1 (R), 2 (RG) or 4 (RGBA)."""
    bits: int
    """Bits of each component: 8, 16 or 32."""
    numbers: Numbers
    """Meaning of the bits, as a member or by its value: `"unorm"`."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "numbers", as_choice(Numbers, self.numbers, "numbers"))
        if self.components not in _LETTERS or self.bits not in (8, 16, 32):
            msg = (
                "a format must have 1, 2 or 4 components of 8, 16 or 32 bits, "
                f"got {self.components} components of {self.bits} bits"
            )
            raise InvalidArgument(msg)
        if (self.bits, self.numbers) in _MISSING:
            msg = f"no format has {self.numbers} components of {self.bits} bits; use one of: {', '.join(FORMATS)}"
            raise InvalidArgument(msg)

    @property
    def name(self) -> str:
        """The usual name, for instance `"rgba8unorm"`."""
        return f"{_LETTERS[self.components]}{self.bits}{self.numbers}"

    @property
    def texel_size(self) -> int:
        """Size of a texel in bytes."""
        return self.components * self.bits // 8

    @property
    def dtype(self) -> DType:
        """Element type of a component on the host."""
        return DTYPES[f"{_PREFIX[self.numbers]}{self.bits}"]

    def __str__(self) -> str:
        return self.name


FORMATS = {
    made.name: made
    for made in (
        ImageFormat(components, bits, numbers)
        for components in _LETTERS
        for bits in (8, 16, 32)
        for numbers in Numbers
        if (bits, numbers) not in _MISSING
    )
}
"""Every format by name."""


def as_format(given: object) -> ImageFormat:
    """Return an image format by its name.

    Args:
        given: A format, or its name: `"rgba8unorm"`.

    Raises:
        InvalidArgument: No format has this name. The text lists the names.
    """
    if isinstance(given, ImageFormat):
        return given
    found = FORMATS.get(given) if isinstance(given, str) else None
    if found is None:
        raise InvalidArgument(f"format {given!r} is unknown; use one of: {', '.join(FORMATS)}")
    return found


class Tiling(enum.StrEnum):
    """The order of texels in memory."""

    OPTIMAL = "optimal"
    """An order that only drivers of the same GPU know (`VK_IMAGE_TILING_OPTIMAL`)."""
    LINEAR = "linear"
    """Row after row, `row_pitch` bytes apart (`VK_IMAGE_TILING_LINEAR`)."""


TilingLike: TypeAlias = Tiling | Literal["optimal", "linear"]
"""A tiling, or its value."""
