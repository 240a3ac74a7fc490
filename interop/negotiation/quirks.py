"""Habits of drivers that make an offered handle type unusable, as data: whose, since when, what, says who.

A driver's own answer is believed unless a line here contradicts it. What concerns one backend's calls and not
the choice of a handle stays in that backend; what concerns one site's machines belongs in a plugin
(:func:`interop.protocols.hookspecs.interop_veto_handle`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.protocols import HandleType, is_driver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.negotiation._candidates import Veto
    from interop.protocols import DeviceInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class Quirk:
    """One handle type that one driver offers and must not be taken at its word for."""

    backend: str
    """Through which backend the driver is met, on either side of a pair."""
    driver: str
    """Regular expression found, whatever the case, in ``"DRIVER: DEVICE"`` (its two names)."""
    since: tuple[int, ...] = ()
    """First version that has it; empty: every one before :attr:`before`."""
    before: tuple[int, ...] = ()
    """First version without it; empty: not known to be mended."""
    handle_type: HandleType
    purposes: frozenset[str]
    """Of ``memory``, ``binary``, ``timeline``."""
    trouble: str
    reference: str

    def concerns(self, device: DeviceInfo) -> bool:
        """Whether ``device`` has it. A driver that does not tell its version has every quirk of its name."""
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
"""Every quirk that negotiation heeds."""


def heed(veto: Veto | None, quirks: Sequence[Quirk] = KNOWN) -> Veto:
    """Return a veto that asks the quirks of both devices first, then ``veto``."""

    def rule(producer: DeviceInfo, consumer: DeviceInfo, handle_type: HandleType, purpose: str) -> str | None:
        for quirk in quirks:
            if quirk.handle_type is not handle_type or purpose not in quirk.purposes:
                continue
            for device in (producer, consumer):
                if quirk.concerns(device):
                    return f"{device.driver or device.name}: {quirk.trouble} ({quirk.reference})"
        return veto(producer, consumer, handle_type, purpose) if veto else None

    return rule
