"""Links: a producer and a consumer joined by a plan, their buffers, turns and rings."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.links.buffers import Buffer
from interop.links.connect import connect
from interop.links.link import Link
from interop.links.queue_turns import QueueTurn
from interop.links.turns import ConsumerTurn, ProducerTurn
from interop.protocols import load_later

if TYPE_CHECKING:
    from interop.links.rings import (
        Batch,
        Counts,
        FrameRing,
        LatestRing,
        Recorded,
        Slot,
        Trial,
        Tuning,
        tune_ring,
    )

__all__ = ["Buffer"]
__all__ += ["connect"]
__all__ += ["Link"]
__all__ += ["QueueTurn"]
__all__ += ["Batch", "Counts", "FrameRing", "LatestRing", "Recorded", "Slot", "Trial", "Tuning"]
__all__ += ["tune_ring"]
__all__ += ["ConsumerTurn", "ProducerTurn"]

if not TYPE_CHECKING:  # a first frame needs no ring
    _RINGS = "Batch Counts FrameRing LatestRing Recorded Slot Trial Tuning tune_ring"
    __getattr__ = load_later(__name__, {"rings": _RINGS})
