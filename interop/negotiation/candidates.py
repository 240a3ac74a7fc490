"""The conditions that each handle type must meet: both devices support it, and no veto excludes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interop.protocols import DeviceInfo, HandleType

Veto: TypeAlias = "Callable[[DeviceInfo, DeviceInfo, HandleType, str], str | None]"
"""A function `veto(producer, consumer, handle_type, purpose)`.

It returns the reason why the pair must not use the handle type, or None. The purpose is `"memory"`, `"binary"` or
`"timeline"`."""


def missing(
    handle_type: HandleType,
    exportable: Iterable[HandleType],
    importable: Iterable[HandleType],
    producer: DeviceInfo,
    consumer: DeviceInfo,
) -> str | None:
    """Return which device does not support a handle type, or None if both support it.

    Args:
        handle_type: The candidate.
        exportable: Handle types that the exporting device supports.
        importable: Handle types that the importing device supports.
        producer: The exporting device.
        consumer: The importing device.
    """
    lacking = [
        f"{device.backend} does not {verb} it"
        for device, verb, types in ((producer, "export", exportable), (consumer, "import", importable))
        if handle_type not in types
    ]
    return " and ".join(lacking) or None
