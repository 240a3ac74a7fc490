"""Rings: many frames in flight between the two sides of a link."""

from __future__ import annotations

from interop.links.rings.frame_ring import FrameRing
from interop.links.rings.latest_ring import LatestRing
from interop.links.rings.layout import Counts, RingLayout, Slot, Source, as_count
from interop.links.rings.recorded import Recorded
from interop.links.rings.slots import Batch
from interop.links.rings.tuning import Trial, Tuning, tune_ring

__all__ = [
    "Batch",
    "Counts",
    "FrameRing",
    "LatestRing",
    "Recorded",
    "RingLayout",
    "Slot",
    "Source",
    "Trial",
    "Tuning",
    "as_count",
    "tune_ring",
]
