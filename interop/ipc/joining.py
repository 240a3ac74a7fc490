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
from interop.ipc.errors import PeerError
from interop.negotiation import matching_devices

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.protocols import Consumer, DeviceInfo

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
    opening: Callable[[DeviceInfo], Consumer]
    if isinstance(consumer, str):
        backend = registry.default().load_consumer(consumer)
        devices, opening = backend.devices(), backend.open_consumer
    else:
        devices, opening = [consumer.device], lambda _device: consumer
    if device is not None:
        devices = matching_devices(devices, device)[:1]
    with ExitStack() as undo:
        channel = Channel(_connect(path, timeout), timeout)
        undo.push(channel.end)
        check_peer(channel.peer, allowed_uids)
        with channel.receive("to accept this process") as arrival:
            arrival.expect(Kind.WELCOME)
        fields = messages.hello_fields(devices, chosen=device is not None)
        channel.send(Kind.HELLO, wire.encode_fields(fields))
        with channel.receive("to negotiate") as arrival:
            plan = messages.read_plan(arrival.fields(Kind.PLAN), devices)
            types = [sync.handle_type for sync in (plan.to_consumer, plan.to_producer) if sync.handle_type]
            handles = arrivals.adopt(arrival.fds(), types)
        for handle in handles:
            undo.callback(handle.close)
        opened = opening(plan.consumer)
        if isinstance(consumer, str):
            undo.callback(opened.close)
        return ConsumerSession(channel, plan, opened, handles, timeout, undo)


def _connect(path: str, timeout: float) -> socket.socket:
    deadline = time.monotonic() + timeout
    while True:
        with ExitStack() as undo:
            sock = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            try:
                sock.connect(path)
            except OSError as error:
                if time.monotonic() > deadline:
                    raise PeerError(
                        f"no process serves at {path!r} ({error.strerror or error}); start the producer's process first"
                    ) from error
            else:
                undo.pop_all()
                return sock
        time.sleep(_RETRY)
