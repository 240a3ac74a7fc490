"""Which images two devices can share, as far as they tell before one is made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import Tiling

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypeAlias

    from interop.protocols import (
        DeviceInfo,
        HandleType,
    )

    ImageTypes: TypeAlias = Mapping["Tiling", frozenset[HandleType]]


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOffer:
    """Which images two devices can share, as far as they tell before one is made."""

    tilings: tuple[Tiling, ...]
    """Best first; empty where they share none."""
    reasons: tuple[str, ...]
    """Why the other tilings are missing."""

    def __str__(self) -> str:
        words = f"yes, {' and '.join(self.tilings)}" if self.tilings else "no"
        return words + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def offered(producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType | None) -> ImageOffer:
    """Return which images travel by ``handle_type``, that of a plan; None stands for staged memory.

    Formats and kinds are answered by making an image and importing it. Touches no driver.
    """
    if handle_type is None:
        return ImageOffer(tilings=(), reasons=("memory is staged, and images are not copied",))
    found: list[Tiling] = []
    reasons: list[str] = []
    for tiling in Tiling:
        lacking: list[str] = []
        for device, verb in ((producer, "exports"), (consumer, "imports")):
            if handle_type not in device.capabilities.images.get(tiling, frozenset()):
                lacking.append(f"{device.backend} {verb} no {tiling} images by {handle_type}")
                lacking += device.capabilities.image_notes
        if not lacking:
            found.append(tiling)
        reasons += [reason for reason in lacking if reason not in reasons]
    return ImageOffer(tilings=tuple(found), reasons=tuple(reasons))
