"""Choice of the handle type by which both devices share one allocation."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation.candidates import missing
from interop.negotiation.plan import Rejection
from interop.protocols import HandleType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.negotiation.candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey

MEMORY_TYPES = (
    HandleType.OPAQUE_FD,
    HandleType.DMA_BUF,
    HandleType.OPAQUE_WIN32,
    HandleType.OPAQUE_WIN32_KMT,
    HandleType.HOST_ALLOCATION,
)
"""Handle types that carry memory, best first. Host memory is last, because a GPU reads it over the bus."""


def choose_memory(
    producer: DeviceInfo,
    consumer: DeviceInfo,
    match: MatchKey | None,
    veto: Veto,
    rejected: list[Rejection],
    types: Sequence[HandleType],
    *,
    apart: bool,
) -> HandleType | None:
    """Return the first handle type that both devices support, or None.

    Two different devices share host memory alone. Two processes do not share host memory.

    Args:
        producer: The exporting device.
        consumer: The importing device.
        match: The key that proves the two to be one device, or None.
        veto: May exclude a handle type.
        rejected: Receives the reason against each handle type that was not chosen.
        types: Handle types to try, best first.
        apart: Whether producer and consumer run in different processes.
    """
    if match is None:
        rejected.append(Rejection("device memory", "producer and consumer are not the same device"))
        types = [each for each in types if each is HandleType.HOST_ALLOCATION]
    exported, imported = producer.capabilities.memory_export, consumer.capabilities.memory_import
    chosen = None
    for handle_type in types:
        reason = missing(handle_type, exported, imported, producer, consumer)
        reason = reason or veto(producer, consumer, handle_type, "memory")
        if reason is None and apart and handle_type is HandleType.HOST_ALLOCATION:
            reason = "an address is valid in one process alone"
        if reason is None and chosen is None:
            chosen = handle_type
        elif chosen is not None and handle_type is HandleType.HOST_ALLOCATION:
            continue  # host memory is no alternative to device memory, so no reason is needed
        elif reason and (len(types) == 1 or not _is_foreign(handle_type, producer, consumer)):
            rejected.append(Rejection(f"memory by {handle_type.value}", reason))
    if chosen is None:
        notes = [*producer.capabilities.notes, *consumer.capabilities.notes]
        rejected.extend(Rejection("zero-copy", note) for note in notes)
    return chosen


def _is_foreign(handle_type: HandleType, producer: DeviceInfo, consumer: DeviceInfo) -> bool:
    """Whether neither device supports any handle of this kind, as Windows handles on Linux."""
    devices = (producer.capabilities, consumer.capabilities)
    known = any(handle_type in each.memory_export | each.memory_import for each in devices)
    return not handle_type.is_fd and not known
