"""Which memory path and which synchronisation join two devices, and why not the others.

Pure functions over what the two drivers answered: nothing here opens, allocates or calls a driver, so every
machine can be imitated by two :class:`interop.protocols.DeviceInfo`.
"""

from __future__ import annotations

from interop.negotiation._candidates import Veto, missing
from interop.negotiation._memory import MEMORY_TYPES
from interop.negotiation._sync import SEMAPHORE_TYPES
from interop.negotiation.choose import negotiate
from interop.negotiation.devices import select_devices
from interop.negotiation.images import ImageOffer, offered
from interop.negotiation.plan import Direction, MemoryPath, Plan, Rejection, Strategy, SyncPlan
from interop.negotiation.quirks import Quirk

__all__ = [
    "MEMORY_TYPES",
    "SEMAPHORE_TYPES",
    "Direction",
    "ImageOffer",
    "MemoryPath",
    "Plan",
    "Quirk",
    "Rejection",
    "Strategy",
    "SyncPlan",
    "Veto",
    "missing",
    "negotiate",
    "offered",
    "select_devices",
]
