"""What every candidate has in common: both sides must know its handle type, and nobody may veto it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interop.device import DeviceInfo
    from interop.handles import HandleType

    Veto = Callable[[DeviceInfo, DeviceInfo, HandleType, str], str | None]


def missing(
    handle_type: HandleType,
    exportable: Iterable[HandleType],
    importable: Iterable[HandleType],
    producer: DeviceInfo,
    consumer: DeviceInfo,
) -> str | None:
    """Return which side lacks a handle type, or None where both have it."""
    lacking = [
        text
        for types, text in (
            (exportable, f"{producer.backend} does not export it"),
            (importable, f"{consumer.backend} does not import it"),
        )
        if handle_type not in types
    ]
    return " and ".join(lacking) or None
