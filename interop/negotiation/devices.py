"""Choice of devices: those that a caller names, and a producer and a consumer that are one physical device."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

from interop.protocols import DeviceMismatch, InvalidArgument, MatchKey, as_integer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import SupportsIndex

    from interop.protocols import DeviceInfo


def select_devices(
    producers: Sequence[DeviceInfo],
    consumers: Sequence[DeviceInfo],
    *,
    producer_choice: SupportsIndex | str | None = None,
    consumer_choice: SupportsIndex | str | None = None,
    allow_mismatch: bool = False,
) -> tuple[DeviceInfo, DeviceInfo, MatchKey | None]:
    """Choose a producer and a consumer that are one physical device.

    Hardware is preferred to software. Otherwise the order of the drivers decides. A consumer that is the host's
    processor needs no match, because the staged path reaches every producer.

    Args:
        producers: Devices of the producer's backend.
        consumers: Devices of the consumer's backend.
        producer_choice: Index of the producer, or a part of its name, UUID or PCI address.
        consumer_choice: Index of the consumer, or a part of its name, UUID or PCI address. If the caller chooses
            both, the two count as one device, unless LUIDs or PCI addresses disprove it.
        allow_mismatch: Accept two different devices, for the staged path.

    Returns:
        Producer, consumer, and the key that proves them to be one device; None for two devices.

    Raises:
        InvalidArgument: No device fits a choice.
        DeviceMismatch: No pair is one device. The error names the devices of both sides.
    """
    left = matching_devices(producers, producer_choice)
    right = matching_devices(consumers, consumer_choice)
    pairs = sorted(product(left, right), key=lambda pair: (pair[0].software, pair[1].software))
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


def matching_devices(
    devices: Sequence[DeviceInfo], choice: SupportsIndex | str | None
) -> Sequence[DeviceInfo]:
    """Return the devices that fit a caller's choice, in the order of the driver.

    Args:
        devices: The devices to choose from.
        choice: Index of a device, or a part of its text: name, UUID or PCI address, without regard to case. None
            chooses all.

    Raises:
        InvalidArgument: No device fits, or the choice is neither an integer nor text. The text lists the devices.
    """
    if isinstance(choice, str):
        wanted = choice.casefold()
        found = [device for device in devices if wanted in str(device).casefold()]
    elif choice is not None:
        index = as_integer(choice, "the choice of a device, if it is no text,")
        found = [device for device in devices if device.index == index]
    else:
        found = list(devices)
    if not found:
        names = "; ".join(map(str, devices)) or "none"
        msg = f"no device fits {choice!r}; choose an index or a part of the text of one of: {names}"
        raise InvalidArgument(msg)
    return found
