"""Devices as their drivers describe them: names, identity and capabilities."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols.formats import ImageTypes, Tiling
    from interop.protocols.handles import HandleType
    from interop.protocols.identity import DeviceIdentity
    from interop.protocols.semaphores import SemaphoreKind


_VERSION = r"\d+(?:\.\d+)+"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """The description of a device by one backend. It holds no driver object and never becomes invalid."""

    backend: str
    """Name of the backend that lists the device."""
    index: int
    """Position in `Backend.devices`, counted from 0."""
    name: str
    """The driver's name of the device. Software and layered drivers say so in it."""
    identity: DeviceIdentity
    """Keys that tell whether another API means the same device."""
    capabilities: Capabilities
    """The driver's answers on what the device can do."""
    software: bool = False
    """Whether the device is the host's processor instead of a GPU."""
    layered: str = ""
    """The API below a layered driver: "CUDA" for HIP on CUDA. Empty for a driver of its own."""
    driver: str = ""
    """Name and version of the driver, in its own words."""
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    """Further facts for a bug report, such as the API version and notable extensions."""

    def __str__(self) -> str:
        return f"{self.backend}:{self.index} {self.name} [{self.identity}]"


_NOTHING: frozenset[HandleType] = frozenset()
_ByKind = dict["SemaphoreKind", "frozenset[HandleType]"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """The abilities of a device. Fields default to "not supported"; a backend fills in those that it has queried."""

    memory_import: frozenset[HandleType] = frozenset()
    """Consumer: handle types by which the device imports memory."""
    memory_export: frozenset[HandleType] = frozenset()
    """Producer: handle types by which the device exports memory."""
    semaphore_import: Mapping[SemaphoreKind, frozenset[HandleType]] = field(default_factory=_ByKind)
    """Handle types by which the device imports semaphores, by kind."""
    semaphore_export: Mapping[SemaphoreKind, frozenset[HandleType]] = field(default_factory=_ByKind)
    """Handle types by which the device exports semaphores, by kind."""
    host_timeline: bool = False
    """Producer: whether the host can wait for and signal a timeline semaphore (`vkWaitSemaphores`)."""
    stream_hold: str = ""
    """Consumer: the call that gates a stream until the host opens the gate. Empty if the API has none."""
    stream_notify: str = ""
    """Consumer: the call by which a stream calls the host back. Empty if the API has none."""
    host_memory: str = ""
    """Consumer: the call that uses host memory in place, and its cost. Empty if the API has none."""
    view_alignment: int = 1
    """Consumer: bytes of which a view's offset must be a multiple (`CL_DEVICE_MEM_BASE_ADDR_ALIGN`)."""
    notes: tuple[str, ...] = ()
    """Reasons for missing memory paths, one line each. `Plan.explain` shows them."""
    semaphore_notes: tuple[str, ...] = ()
    """Reasons for missing semaphores and gates, one line each. A refused strategy shows them."""
    images: ImageTypes = field(default_factory=dict["Tiling", "frozenset[HandleType]"])
    """Handle types by which a producer exports, or a consumer imports, images of each tiling."""
    image_notes: tuple[str, ...] = ()
    """Reasons for missing tilings, one line each. `interop doctor` shows them."""

    def importable(self, kind: SemaphoreKind) -> frozenset[HandleType]:
        """Return the handle types by which the device imports semaphores of a kind."""
        return self.semaphore_import.get(kind, _NOTHING)

    def exportable(self, kind: SemaphoreKind) -> frozenset[HandleType]:
        """Return the handle types by which the device exports semaphores of a kind."""
        return self.semaphore_export.get(kind, _NOTHING)


def is_driver(
    device: DeviceInfo, driver: str, since: tuple[int, ...] = (), before: tuple[int, ...] = ()
) -> bool:
    """Whether the driver of a device has a name and a version in a range.

    A driver without a version counts as one in the range.

    Args:
        device: The device of the driver.
        driver: Regular expression, searched in `"DRIVER: DEVICE"` without regard to case.
        since: First version of the range; empty for no lower bound.
        before: First version behind the range; empty for no upper bound.
    """
    if re.search(driver, f"{device.driver}: {device.name}", re.IGNORECASE) is None:
        return False
    found = re.search(_VERSION, device.driver)
    if found is None:
        return True
    version = tuple(map(int, found.group().split(".")))
    return version >= since and (not before or version < before)
