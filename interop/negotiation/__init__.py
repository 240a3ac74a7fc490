"""Which memory path and which synchronisation join two devices, and why not the others.

Pure functions over what the two drivers answered: nothing here opens, allocates or calls a driver, so every
machine can be imitated by two :class:`interop.device.DeviceInfo`.
"""

from __future__ import annotations

from interop.negotiation.choose import negotiate
from interop.negotiation.devices import select_devices
from interop.negotiation.memory import MEMORY_TYPES
from interop.negotiation.plan import Direction, Path, Plan, Rejection, Strategy, SyncPlan
from interop.negotiation.sync import SEMAPHORE_TYPES

__all__ = [
    "MEMORY_TYPES",
    "SEMAPHORE_TYPES",
    "Direction",
    "Path",
    "Plan",
    "Rejection",
    "Strategy",
    "SyncPlan",
    "negotiate",
    "select_devices",
]
