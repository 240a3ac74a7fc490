"""Links: a producer and a consumer joined by a plan, their buffers, turns and rings."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

from interop.links.buffers import Buffer
from interop.links.connect import connect
from interop.links.link import Link
from interop.links.queue_turns import QueueTurn
from interop.links.turns import ConsumerTurn, ProducerTurn

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

if not TYPE_CHECKING:  # a type checker would take every wrong name for an object

    def __getattr__(name: str) -> object:
        """Load the rings when one of their names is first asked for: a first frame needs none of them."""
        if name not in __all__:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        return getattr(import_module(f"{__name__}.rings"), name)
