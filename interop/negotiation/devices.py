"""Which two devices are one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import DeviceMismatch, InvalidArgument, MatchKey

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.protocols import DeviceInfo


def select_devices(
    producers: Sequence[DeviceInfo],
    consumers: Sequence[DeviceInfo],
    *,
    producer_choice: int | str | None = None,
    consumer_choice: int | str | None = None,
    allow_mismatch: bool = False,
) -> tuple[DeviceInfo, DeviceInfo, MatchKey | None]:
    """Choose a pair that is proved to be one device; hardware before software, then the drivers' own order.

    A choice is an index, or a text that the device's name, uuid or PCI address contains. Both choices
    together vouch for the pair (:attr:`MatchKey.CHOICE`), unless LUIDs or PCI addresses disprove it. A consumer
    that is nothing but the host's processor needs no match, because staging reaches any producer. Raises
    :class:`InvalidArgument` for a choice that fits nothing, :class:`DeviceMismatch` naming both when no pair
    matches.
    """
    left = _chosen(producers, producer_choice)
    right = _chosen(consumers, consumer_choice)
    pairs = sorted(
        ((p, c) for p in left for c in right), key=lambda pair: (pair[0].software, pair[1].software)
    )
    for producer, consumer in pairs:
        key = producer.identity.match(consumer.identity)
        if key is not None:
            return producer, consumer, key
    producer, consumer = pairs[0]
    vouched = producer_choice is not None and consumer_choice is not None
    if vouched and not producer.identity.disproves(consumer.identity):
        return producer, consumer, MatchKey.CHOICE
    on_host = next((pair for pair in pairs if pair[1].identity.host and not pair[1].identity.uuids), None)
    if on_host is not None:
        return *on_host, None
    if allow_mismatch:
        return producer, consumer, None
    reason = f"producer and consumer are not the same device: {producer.identity.compare(consumer.identity)}"
    raise DeviceMismatch("; ".join(map(str, left)), "; ".join(map(str, right)), reason)


def _chosen(devices: Sequence[DeviceInfo], choice: int | str | None) -> Sequence[DeviceInfo]:
    if choice is None:
        return devices
    if isinstance(choice, int):
        found = [device for device in devices if device.index == choice]
    else:
        wanted = choice.casefold()
        found = [device for device in devices if wanted in str(device).casefold()]
    if not found:
        names = "; ".join(map(str, devices))
        msg = f"no device fits {choice!r}; there are: {names}"
        raise InvalidArgument(msg)
    return found
