"""Rings: many frames in flight between the two sides of a link."""

from __future__ import annotations

from interop.links.rings.factory import Rings
from interop.links.rings.frame_ring import FrameRing
from interop.links.rings.latest_ring import LatestRing
from interop.links.rings.layout import Auto, Counts, Slot, Source
from interop.links.rings.slots import Batch

__all__ = [
    "Auto",
    "Batch",
    "Counts",
    "FrameRing",
    "LatestRing",
    "Rings",
    "Slot",
    "Source",
]
