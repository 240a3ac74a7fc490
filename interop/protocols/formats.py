"""Formats of images: what a texel is made of."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from interop.protocols.dtypes import DTYPES
from interop.protocols.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols.dtypes import DType
    from interop.protocols.handles import HandleType

ImageTypes: TypeAlias = "Mapping[Tiling, frozenset[HandleType]]"
"""Handle types by tiling."""

_LETTERS = {1: "r", 2: "rg", 4: "rgba"}


class Numbers(enum.StrEnum):
    """What the bits of a component mean."""

    UINT = "uint"
    SINT = "sint"
    UNORM = "unorm"
    """Unsigned integers that shaders see as 0.0 to 1.0. The host reads and writes the integers."""
    FLOAT = "float"


_PREFIX = {Numbers.UINT: "uint", Numbers.SINT: "int", Numbers.UNORM: "uint", Numbers.FLOAT: "float"}


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """The make-up of a texel: every component has as many bits and the same meaning."""

    components: int
    """1 (R), 2 (RG) or 4 (RGBA)."""
    bits: int
    """Of each component: 8, 16 or 32."""
    numbers: Numbers

    def __post_init__(self) -> None:
        impossible = {(8, Numbers.FLOAT), (32, Numbers.UNORM)}
        if self.components not in _LETTERS or self.bits not in (8, 16, 32):
            msg = (
                f"a format has 1, 2 or 4 components of 8, 16 or 32 bits, got {self.components} of {self.bits}"
            )
            raise InvalidArgument(msg)
        if (self.bits, self.numbers) in impossible:
            msg = f"there is no format with {self.numbers} components of {self.bits} bits"
            raise InvalidArgument(msg)

    @property
    def name(self) -> str:
        """Its usual name, for instance ``"rgba8unorm"``."""
        return f"{_LETTERS[self.components]}{self.bits}{self.numbers}"

    @property
    def texel_size(self) -> int:
        """Bytes of a texel."""
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
        if (bits, numbers) not in {(8, Numbers.FLOAT), (32, Numbers.UNORM)}
    )
}
"""Every format by name."""


def as_format(given: ImageFormat | str) -> ImageFormat:
    """Return a format by its name. Raises :class:`InvalidArgument`, naming those that there are."""
    if isinstance(given, ImageFormat):
        return given
    found = FORMATS.get(given)
    if found is None:
        msg = f"no image format {given!r}; use one of: {', '.join(FORMATS)}"
        raise InvalidArgument(msg)
    return found


class Tiling(enum.StrEnum):
    """How texels lie in memory."""

    OPTIMAL = "optimal"
    """In an order that only drivers of the same GPU know (``VK_IMAGE_TILING_OPTIMAL``)."""
    LINEAR = "linear"
    """Row after row, ``row_pitch`` bytes apart (``VK_IMAGE_TILING_LINEAR``)."""
