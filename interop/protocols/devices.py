"""Who a device is, and when two APIs mean the same one."""

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


_VERSION = re.compile(r"\d+(?:\.\d+)+")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """One device as one backend sees it. Holds no driver object and stays valid for ever."""

    backend: str
    index: int
    """Position in :meth:`interop.protocols.Backend.devices`, counted from 0."""
    name: str
    """The driver's name for it; software and layered drivers say so in it."""
    identity: DeviceIdentity
    capabilities: Capabilities
    software: bool = False
    """Runs on the host's processor instead of on a GPU."""
    layered: str = ""
    """For a driver that runs on another vendor's ("HIP on CUDA"): what it runs on. Empty otherwise."""
    driver: str = ""
    """Name and version of the driver, in its own words."""
    details: Mapping[str, str] = field(default_factory=dict[str, str])
    """Whatever else helps a bug report: API version, extensions of note."""

    def __str__(self) -> str:
        return f"{self.backend}:{self.index} {self.name} [{self.identity}]"


_NOTHING: frozenset[HandleType] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """What a device can do, as its driver answered. A device that was not asked offers nothing."""

    memory_import: frozenset[HandleType] = frozenset()
    memory_export: frozenset[HandleType] = frozenset()
    semaphore_import: Mapping[SemaphoreKind, frozenset[HandleType]] = field(
        default_factory=dict["SemaphoreKind", "frozenset[HandleType]"]
    )
    semaphore_export: Mapping[SemaphoreKind, frozenset[HandleType]] = field(
        default_factory=dict["SemaphoreKind", "frozenset[HandleType]"]
    )
    host_timeline: bool = False
    """Producer: the host can wait on and signal a timeline semaphore (``vkWaitSemaphores``)."""
    stream_hold: str = ""
    """Consumer: by which call a stream is held until the host lets it go; empty where it cannot be."""
    stream_notify: str = ""
    """Consumer: by which call a stream calls the host back; empty where it cannot."""
    host_memory: str = ""
    """Consumer: by which call it uses host memory in place, and what that means; empty where it cannot."""
    view_alignment: int = 1
    """Consumer: bytes of which a view's offset must be a multiple (``CL_DEVICE_MEM_BASE_ADDR_ALIGN``)."""
    notes: tuple[str, ...] = ()
    """Why something is missing, in one line each; shown by ``explain()``."""
    images: ImageTypes = field(default_factory=dict["Tiling", "frozenset[HandleType]"])
    """By which handle types images of a tiling are exported (producer) or imported (consumer)."""
    image_notes: tuple[str, ...] = ()
    """Why a tiling is missing, in one line each; shown by ``interop doctor``."""

    def importable(self, kind: SemaphoreKind) -> frozenset[HandleType]:
        """Handle types by which semaphores of ``kind`` can be taken in."""
        return self.semaphore_import.get(kind, _NOTHING)

    def exportable(self, kind: SemaphoreKind) -> frozenset[HandleType]:
        """Handle types by which semaphores of ``kind`` can be handed out."""
        return self.semaphore_export.get(kind, _NOTHING)


def is_driver(
    device: DeviceInfo, driver: str, since: tuple[int, ...] = (), before: tuple[int, ...] = ()
) -> bool:
    """Whether the driver of ``device`` is one of those meant, by name and version.

    ``driver`` is a regular expression that is looked for, whatever the case, in ``"DRIVER: DEVICE"``; ``since``
    is the first version meant and ``before`` the first that no longer is, empty for no such bound. A driver
    that does not tell its version is meant whenever its name fits.
    """
    if re.search(driver, f"{device.driver}: {device.name}", re.IGNORECASE) is None:
        return False
    found = _VERSION.search(device.driver)
    if found is None:
        return True
    version = tuple(map(int, found.group().split(".")))
    return version >= since and (not before or version < before)
