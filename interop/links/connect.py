"""Connecting: from names or opened devices to a link, by the best means that both sides offer."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from interop.links.link import DEFAULT_TIMEOUT, Link
from interop.negotiation import MemoryPath, Strategy, negotiate, select_devices
from interop.protocols import HandleType, InvalidArgument
from interop.toolkit import Deferred, check_connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Consumer, DeviceInfo, GpuProducer, Producer, ProducerT


Sync = Literal["auto", "native", "bridged", "blocking"]
"""Names of strategies; ``"auto"`` is the best one that works."""
PathName = Literal["zero-copy", "staged"]
"""Names of memory paths."""
HandleName = Literal[
    "opaque_fd", "opaque_win32", "opaque_win32_kmt", "dma_buf", "host_allocation", "d3d11_texture"
]


@overload
def connect(
    producer: Literal["vulkan"] = "vulkan",
    consumer: str | Consumer = "opencl",
    *,
    producer_device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: Sync | Strategy = "auto",
    path: PathName | MemoryPath | None = None,
    handle_type: HandleName | HandleType | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[GpuProducer]: ...
@overload
def connect(
    producer: ProducerT,
    consumer: str | Consumer = "opencl",
    *,
    producer_device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: Sync | Strategy = "auto",
    path: PathName | MemoryPath | None = None,
    handle_type: HandleName | HandleType | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[ProducerT]: ...
@overload
def connect(
    producer: str,
    consumer: str | Consumer = "opencl",
    *,
    producer_device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: Sync | Strategy = "auto",
    path: PathName | MemoryPath | None = None,
    handle_type: HandleName | HandleType | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link: ...
def connect(
    producer: str | Producer = "vulkan",
    consumer: str | Consumer = "opencl",
    *,
    producer_device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: Sync | Strategy = "auto",
    path: PathName | MemoryPath | None = None,
    handle_type: HandleName | HandleType | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[Any]:
    """Join a producer and a consumer on one physical device by the best means that both offer.

    A choice that the caller does not force is tried once before the link relies on it. Where a driver refuses it, the
    next best is taken and :meth:`Link.explain` gives the reason. Ctrl-C takes effect when this has ended; it waits for
    no device.

    Args:
        producer: The name of a backend, or a device that the caller opened and keeps. The type of the link's producer
            follows from it.
        consumer: As ``producer``.
        producer_device: Index of the producer's device, or a part of its name, uuid or PCI address.
        consumer_device: As ``producer_device``. Both together vouch that the two are one device.
        sync: The strategy of both directions.
        path: The memory path.
        handle_type: The handle type by which memory travels.
        timeout: Bound of every wait of the link and of what it makes, in seconds.
        check: Whether the link raises :class:`Misuse` for wrong use that drivers answer with garbage or a hang. By
            default ``INTEROP_CHECK=1`` in the environment decides.

    Returns:
        The link, which owns the devices that it opened.

    Raises:
        InvalidArgument: An argument is of a wrong type, or has an unknown value.
        BackendUnavailable: A package, a driver or a device is missing.
        DeviceMismatch: The two are not proved to be one device.
        NoCommonHandleType: No memory path joins the two. Nothing stays open.
        NoCommonSync: No strategy joins the two. Nothing stays open.
        Unsupported: This process is a forked child of one that had connected.
    """
    _check_arguments(producer, consumer, producer_device, consumer_device, timeout)
    from interop.links._verify import settle
    from interop.registry import default

    check_connect()
    opening: Callable[[DeviceInfo], Producer]
    taking: Callable[[DeviceInfo], Consumer]
    with Deferred() as interrupt:
        plugins = default()
        if isinstance(producer, str):
            producing = plugins.load_producer(producer)
            producers, opening = producing.devices(), producing.open_producer
        else:
            producers, opening = [producer.device], _given(producer)
        if isinstance(consumer, str):
            consuming = plugins.load_consumer(consumer)
            consumers, taking = consuming.devices(), consuming.open_consumer
        else:
            consumers, taking = [consumer.device], _given(consumer)
        left, right, match = select_devices(
            producers,
            consumers,
            producer_choice=producer_device,
            consumer_choice=consumer_device,
            allow_mismatch=MemoryPath.STAGED.value == path or HandleType.HOST_ALLOCATION.value == handle_type,
        )
        choose = partial(negotiate, left, right, match, sync=sync, path=path, handle_type=handle_type)
        choose(veto=plugins.veto)  # nothing is opened for a pair that cannot be joined
        with ExitStack() as undo:
            opened_producer = opening(left)
            if isinstance(producer, str):
                undo.callback(_close, opened_producer)
            opened_consumer = taking(right)
            if isinstance(consumer, str):
                undo.callback(_close, opened_consumer)
            free = {"memory": handle_type is None, "semaphores": sync == "auto"}
            plan = settle(choose, plugins.veto, opened_producer, opened_consumer, **free)
            link = _link_type(check)(plan, opened_producer, opened_consumer, timeout, owned=undo)
        if interrupt.pending:  # the caller is not going to get it
            link.close()
        return link


def _check_arguments(
    producer: object, consumer: object, producer_device: object, consumer_device: object, timeout: object
) -> None:
    """Raise :class:`InvalidArgument`, naming the argument, for values of a wrong type."""
    for name, side in (("producer", producer), ("consumer", consumer)):
        if not isinstance(side, str) and not hasattr(side, "device"):
            raise InvalidArgument(f"{name} must be the name of a backend or an opened device, got {side!r}")
    for name, choice in (("producer_device", producer_device), ("consumer_device", consumer_device)):
        if choice is not None and (not isinstance(choice, (int, str)) or isinstance(choice, bool)):
            raise InvalidArgument(
                f"{name} must be an index or a part of a name, uuid or PCI address, got {choice!r}"
            )
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)) or not 0 < timeout < float("inf"):
        raise InvalidArgument(f"timeout must be a positive number of seconds, got {timeout!r}")


def _link_type(check: bool | None) -> type[Link[Any]]:  # noqa: FBT001 - passed on as it was given
    """Return the class of the link. Loads the checks only where they are wanted."""
    if check is None:
        check = os.environ.get("INTEROP_CHECK", "") not in {"", "0"}
    if not check:
        return Link
    from interop.links.checking import CheckedLink

    return CheckedLink


_Opened = TypeVar("_Opened", "Producer", "Consumer")


def _close(opened: Producer | Consumer) -> None:
    """Close a side by the method that it has at that time: a checked link watches the method."""
    opened.close()


def _given(opened: _Opened) -> Callable[[DeviceInfo], _Opened]:
    """Stand in for opening a device that the caller has opened."""
    return lambda _device: opened
