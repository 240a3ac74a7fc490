"""Connecting: from names or opened devices to a link, by the best means that both sides offer."""

from __future__ import annotations

import os
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from interop import negotiation
from interop.links.link import DEFAULT_TIMEOUT, Link
from interop.protocols import HandleType, InvalidArgument
from interop.toolkit import Deferred, check_connect

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Consumer, DeviceInfo, GpuProducer, Producer, ProducerT


@overload
def connect(
    producer: Literal["vulkan"] = "vulkan",
    consumer: str | Consumer = "opencl",
    *,
    device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: str = "auto",
    require: str | None = None,
    handle_type: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[GpuProducer]: ...
@overload
def connect(
    producer: ProducerT,
    consumer: str | Consumer = "opencl",
    *,
    device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: str = "auto",
    require: str | None = None,
    handle_type: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[ProducerT]: ...
@overload
def connect(
    producer: str,
    consumer: str | Consumer = "opencl",
    *,
    device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: str = "auto",
    require: str | None = None,
    handle_type: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link: ...
def connect(
    producer: str | Producer = "vulkan",
    consumer: str | Consumer = "opencl",
    *,
    device: int | str | None = None,
    consumer_device: int | str | None = None,
    sync: str = "auto",
    require: str | None = None,
    handle_type: str | None = None,
    timeout: float = DEFAULT_TIMEOUT,
    check: bool | None = None,
) -> Link[Any]:
    """Join a producer and a consumer on one physical device by the best means that both offer.

    ``producer`` and ``consumer`` are names of backends, or devices that the caller opened and keeps owning. The type
    of the link's producer, and of what its turns yield, follows from ``producer``.
    ``device`` and ``consumer_device`` choose devices by index or by a part of the name, uuid or PCI address;
    both together vouch that the two are one. ``sync`` forces a strategy (``"native"``, ``"bridged"``,
    ``"blocking"``), ``require`` a path (``"zero-copy"``, ``"staged"``), ``handle_type`` how memory travels
    (``"opaque_fd"``, ``"dma_buf"``, ``"host_allocation"``). What is not forced is tried once before the link rests
    on it, and left for the next best where a driver refuses it, with the reason in :meth:`Link.explain`.
    ``timeout``, in seconds, bounds every wait of the link. ``check`` makes the link raise :class:`Misuse` for
    wrong use that drivers answer with garbage or a hang (:mod:`interop.links.checking`); by default the environment
    decides: ``INTEROP_CHECK=1``.

    Raises :class:`BackendUnavailable`, :class:`DeviceMismatch`, :class:`NoCommonHandleType` or
    :class:`NoCommonSync`, each with its reasons, and :class:`Unsupported` in a forked child whose parent had
    connected; nothing stays open. Ctrl-C takes effect when this has ended, which waits for no device.
    """
    if not timeout > 0:
        msg = f"timeout must be a positive number of seconds, got {timeout!r}"
        raise InvalidArgument(msg)
    from interop import registry
    from interop.links._verify import settle

    check_connect()
    opening: Callable[[DeviceInfo], Producer]
    taking: Callable[[DeviceInfo], Consumer]
    with Deferred() as interrupt:
        plugins = registry.default()
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
        left, right, match = negotiation.select_devices(
            producers,
            consumers,
            producer_choice=device,
            consumer_choice=consumer_device,
            allow_mismatch=negotiation.MemoryPath.STAGED.value == require
            or HandleType.HOST_ALLOCATION.value == handle_type,
        )
        choose = partial(
            negotiation.negotiate, left, right, match, sync=sync, path=require, handle_type=handle_type
        )
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


def _link_type(check: bool | None) -> type[Link[Any]]:  # noqa: FBT001 - passed on as it was given
    """The class of a link that is checked or not; checks are not even loaded where they are not wanted."""
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
