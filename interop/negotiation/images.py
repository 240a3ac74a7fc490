"""Images that two devices can share, by the answers of their drivers before an image exists."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import Tiling

if TYPE_CHECKING:
    from interop.protocols import DeviceInfo, HandleType


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageOffer:
    """Tilings of images that two devices can share."""

    tilings: tuple[Tiling, ...]
    """Shared tilings, best first; empty if there are none."""
    reasons: tuple[str, ...]
    """Why the other tilings are missing, in one line each."""

    def __str__(self) -> str:
        words = f"yes, {' and '.join(self.tilings)}" if self.tilings else "no"
        return words + (f" ({'; '.join(self.reasons)})" if self.reasons else "")


def offered(producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType | None) -> ImageOffer:
    """Return the tilings of images that two devices can share. Calls no driver.

    Whether the devices share a format, a kind of image or an extent, shows only when an image is made and imported.

    Args:
        producer: The exporting device.
        consumer: The importing device.
        handle_type: Handle type of the plan; None for the staged path.
    """
    if handle_type is None:
        return ImageOffer(tilings=(), reasons=("memory is staged, and the staged path copies no images",))
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
