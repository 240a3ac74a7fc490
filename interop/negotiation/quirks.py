"""Quirks: faults of drivers that make an offered handle type unusable, as data.

Negotiation believes a driver's answer unless a quirk contradicts it. A fault that concerns the calls of one backend
belongs in that backend. A fault of a single site's machines belongs in a plugin (hook `interop_veto_handle`).
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import HandleType, is_driver

if TYPE_CHECKING:
    from interop.negotiation.candidates import Veto
    from interop.protocols import DeviceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """A handle type that a driver offers but that does not work with it."""

    backend: str
    """Backend that uses the driver, as producer or consumer."""
    driver: str
    """Regular expression, searched in `"DRIVER: DEVICE"` without regard to case."""
    since: tuple[int, ...] = ()
    """First version with the fault. Empty: all versions below `before`."""
    before: tuple[int, ...] = ()
    """First version without the fault. Empty: no such version is known."""
    handle_type: HandleType
    """The handle type that does not work."""
    purposes: frozenset[str]
    """Uses that do not work: `"memory"`, `"binary"`, `"timeline"`."""
    trouble: str
    """The driver's behaviour in one line."""
    reference: str
    """Evidence: driver, version and device of a measurement, or an address."""

    def concerns(self, device: DeviceInfo) -> bool:
        """Whether a device has the quirk. A driver without a version has every quirk of its name."""
        return device.backend == self.backend and is_driver(device, self.driver, self.since, self.before)


KNOWN: tuple[Quirk, ...] = (
    Quirk(
        backend="vulkan",
        driver="swiftshader",
        handle_type=HandleType.OPAQUE_FD,
        purposes=frozenset({"timeline"}),
        trouble="vkGetSemaphoreFdKHR of a timeline semaphore faults",
        reference="seen with the builds of Chromium 147 and 156",
    ),
    Quirk(
        backend="opencl",
        driver=r"adreno.* 8\d\d",
        handle_type=HandleType.DMA_BUF,
        purposes=frozenset({"memory"}),
        trouble="the import succeeds and gives a buffer of its own instead of the shared one",
        reference="ggml-org/whisper.cpp#3708, a single report",
    ),
)
"""All quirks that negotiation applies."""


def heed(veto: Veto | None) -> Veto:
    """Return a veto that applies the known quirks of both devices, and then `veto`."""

    def rule(producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType, purpose: str) -> str | None:
        for quirk, device in itertools.product(KNOWN, (producer, consumer)):
            fits = quirk.handle_type is handle_type and purpose in quirk.purposes
            if fits and quirk.concerns(device):
                return f"{device.driver or device.name}: {quirk.trouble} ({quirk.reference})"
        return veto(producer, consumer, handle_type, purpose) if veto else None

    return rule
