"""Negotiation: the memory path and the synchronisation that join two devices, and the reasons against the others.

All functions are pure. They read the answers of two drivers from `DeviceInfo` and call no driver, so two such objects
can imitate any machine.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation.candidates import Veto, missing
from interop.negotiation.choose import negotiate
from interop.negotiation.devices import matching_devices, select_devices
from interop.negotiation.memory import MEMORY_TYPES
from interop.negotiation.plan import Direction, MemoryPath, Plan, Rejection, Strategy, SyncPlan
from interop.negotiation.quirks import Quirk
from interop.negotiation.sync import SEMAPHORE_TYPES
from interop.protocols import load_later

if TYPE_CHECKING:
    from interop.negotiation.images import ImageOffer, offered

__all__ = ["MEMORY_TYPES", "SEMAPHORE_TYPES", "Direction", "ImageOffer", "MemoryPath", "Plan", "Quirk"]
__all__ += ["Rejection", "Strategy", "SyncPlan", "Veto", "matching_devices", "missing", "negotiate"]
__all__ += ["offered", "select_devices"]

if not TYPE_CHECKING:
    __getattr__ = load_later(__name__, {"images": "ImageOffer offered"})
