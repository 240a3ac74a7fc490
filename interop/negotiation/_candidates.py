"""What every candidate has in common: both sides must know its handle type, and nobody may veto it."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from interop.protocols import DeviceInfo, HandleType

Veto: TypeAlias = "Callable[[DeviceInfo, DeviceInfo, HandleType, str], str | None]"
"""Returns why a handle type must not be used between a producer and a consumer, or None."""


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
