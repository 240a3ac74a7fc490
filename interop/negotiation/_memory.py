"""Candidates for memory: by which handle type one allocation is seen by both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.negotiation._candidates import missing
from interop.negotiation.plan import Rejection
from interop.protocols import HandleType

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.negotiation._candidates import Veto
    from interop.protocols import DeviceInfo, MatchKey

MEMORY_TYPES = (
    HandleType.OPAQUE_FD,
    HandleType.DMA_BUF,
    HandleType.OPAQUE_WIN32,
    HandleType.OPAQUE_WIN32_KMT,
    HandleType.HOST_ALLOCATION,
)
"""Handle types that carry memory, best first. Host memory is last: a GPU reaches it over the bus."""


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
    """Return the first of ``types`` that both sides take, adding why each other was not taken to ``rejected``.

    Two devices that are not one share nothing but host memory, and two processes not even that.
    """
    if match is None:
        rejected.append(Rejection("device memory", "the two are not the same device"))
        types = [each for each in types if each is HandleType.HOST_ALLOCATION]
    chosen = None
    for handle_type in types:
        reason = missing(
            handle_type,
            producer.capabilities.memory_export,
            consumer.capabilities.memory_import,
            producer,
            consumer,
        ) or veto(producer, consumer, handle_type, "memory")
        if reason is None and apart and handle_type is HandleType.HOST_ALLOCATION:
            reason = "an address means nothing in another process"
        if reason is None and chosen is None:
            chosen = handle_type
        elif chosen is not None and handle_type is HandleType.HOST_ALLOCATION:
            continue  # no alternative to memory of the device, so nothing is worth saying
        elif reason and (len(types) == 1 or not _is_foreign(handle_type, producer, consumer)):
            rejected.append(Rejection(f"memory by {handle_type.value}", reason))
    if chosen is None:
        notes = [*producer.capabilities.notes, *consumer.capabilities.notes]
        rejected.extend(Rejection("zero-copy", note) for note in notes)
    return chosen


def _is_foreign(handle_type: HandleType, producer: DeviceInfo, consumer: DeviceInfo) -> bool:
    """Whether neither side has ever heard of this type here, so that naming it would be noise."""
    known: set[HandleType] = set()
    for capabilities in (producer.capabilities, consumer.capabilities):
        known |= capabilities.memory_export | capabilities.memory_import
    return not handle_type.is_fd and handle_type not in known
