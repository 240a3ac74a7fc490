"""The consumer's process connects to the producer's, checks it, and negotiates with it."""

from __future__ import annotations

import socket
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop import registry
from interop.ipc import _arrivals as arrivals
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.channel import Channel, check_peer, check_timeout
from interop.ipc.consuming import ConsumerSession
from interop.ipc.errors import PeerError, ProtocolError
from interop.protocols import InteropError, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Sequence

    from interop.negotiation import Plan
    from interop.protocols import Consumer, DeviceInfo, HandleType

_RETRY = 0.02  # seconds between attempts to connect to a process that does not listen yet


def join(
    path: str,
    consumer: str | Consumer = "opencl",
    *,
    device: int | str | None = None,
    timeout: float = 10.0,
    allowed_uids: Sequence[int] = (),
) -> ConsumerSession:
    """Join the producer's process that serves at ``path``.

    Args:
        path: Path of the Unix socket.
        consumer: Name of a backend, or an opened consumer, which the caller keeps and closes.
        device: The consumer's device, as index or as part of its name.
        timeout: Limit in seconds for connecting, and for each wait of the session.
        allowed_uids: Users, besides this one, whose processes are accepted.

    Returns:
        The session. The caller owns it and must close it.

    Raises:
        InvalidArgument: ``timeout`` is not positive, or no device fits ``device``.
        PeerError: No process listens, the process runs as a user that is not allowed, or it refused.
        WaitTimeout: The other process did not answer within ``timeout``.
    """
    check_timeout(timeout)
    plugins = registry.default()
    loaded = plugins.load_consumer(consumer) if isinstance(consumer, str) else None
    devices = list(loaded.devices()) if loaded is not None else [consumer.device]  # type: ignore[union-attr]
    if device is not None:
        devices = _chosen(devices, device)
    with ExitStack() as undo:
        channel = Channel(_connect(path, timeout), timeout)
        undo.callback(channel.close)
        check_peer(channel.peer, allowed_uids)
        with channel.receive("to accept this process") as arrival:
            try:
                arrival.expect(Kind.WELCOME)
            except ProtocolError as error:
                raise channel.refuse(error.reason) from error
        channel.send(
            Kind.HELLO, wire.encode_fields(messages.hello_fields(devices, chosen=device is not None))
        )
        with channel.receive("to negotiate") as arrival:
            try:
                arrival.expect(Kind.PLAN)
                plan = messages.read_plan(wire.Fields.decode(arrival.message.body, "plan"), devices)
                handles = arrivals.adopt(arrival.fds(), _semaphore_types(plan))
            except ProtocolError as error:
                raise channel.refuse(error.reason) from error
        for handle in handles:
            undo.callback(handle.close)
        try:
            opened: Consumer
            if loaded is not None:
                opened = loaded.open_consumer(plan.consumer)
                undo.callback(opened.close)
            else:
                opened = consumer  # type: ignore[assignment]
            return ConsumerSession(channel, plan, opened, handles, timeout, undo)
        except InteropError as error:
            channel.tell(Kind.REFUSE, f"{type(error).__name__}: {error}")
            raise


def _chosen(devices: Sequence[DeviceInfo], choice: int | str) -> list[DeviceInfo]:
    wanted = str(choice).casefold()
    found = [
        device
        for device in devices
        if (device.index == choice if isinstance(choice, int) else wanted in str(device).casefold())
    ][:1]
    if not found:
        msg = f"device={choice!r} fits no device; choose one of: {'; '.join(map(str, devices))}"
        raise InvalidArgument(msg)
    return found


def _connect(path: str, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    while True:
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            sock.connect(path)
        except OSError as error:
            sock.close()
            if time.monotonic() > deadline:
                msg = f"no process serves at {path!r} ({error.strerror or error}); start the producer's process first"
                raise PeerError(msg) from error
            time.sleep(_RETRY)
        except BaseException:
            sock.close()
            raise
        else:
            return sock


def _semaphore_types(plan: Plan) -> list[HandleType]:
    return [sync.handle_type for sync in (plan.to_consumer, plan.to_producer) if sync.handle_type is not None]
