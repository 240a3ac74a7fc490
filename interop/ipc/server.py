"""The socket at which a producer's process accepts consumers' processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import stat
from contextlib import ExitStack
from typing import TYPE_CHECKING

from interop import negotiation, registry
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.channel import Channel, check_peer, check_timeout
from interop.ipc.errors import PeerError
from interop.ipc.producing import ProducerSession
from interop.protocols import InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import Producer

DEFAULT_TIMEOUT = 10.0
"""Limit of each wait in seconds, unless the caller of ``serve`` passes another."""


def serve(
    path: str,
    producer: str | Producer = "vulkan",
    *,
    device: int | str | None = None,
    sync: str = "auto",
    timeout: float = DEFAULT_TIMEOUT,
    allowed_uids: Sequence[int] = (),
) -> Server:
    """Listen at a Unix socket for consumers' processes.

    Args:
        path: Path of the socket. Only this user can open it; :meth:`Server.close` removes it. A socket left there
            by a process that no longer listens is replaced.
        producer: Name of a backend, or an opened producer, which the caller keeps and closes.
        device: The producer's device, as index or as part of its name.
        sync: Synchronisation strategy, as in :func:`interop.connect`. ``"bridged"`` needs one process.
        timeout: Limit in seconds for each wait.
        allowed_uids: Users, besides this one, whose processes are accepted.

    Returns:
        The server. The caller owns it and must close it after its sessions.

    Raises:
        InvalidArgument: ``timeout`` is not positive, or the socket cannot be created at ``path``.
    """
    return Server(path, producer, device=device, sync=sync, timeout=timeout, allowed_uids=allowed_uids)


class Server:
    """Accepts consumers' processes, one or several at a time. Opens the producer's device once."""

    def __init__(
        self,
        path: str,
        producer: str | Producer,
        *,
        device: int | str | None,
        sync: str,
        timeout: float,
        allowed_uids: Sequence[int],
    ) -> None:
        """See :func:`serve`."""
        check_timeout(timeout)
        self._path = path
        self._name = producer if isinstance(producer, str) else ""
        self._producer = None if isinstance(producer, str) else producer
        self._choice = device if self._name else None
        self._sync = sync
        self._timeout = timeout
        self._allowed = tuple(allowed_uids)
        self._socket = _listen(path)

    @property
    def path(self) -> str:
        """Path of the socket."""
        return self._path

    def accept(self, timeout: float | None = None) -> ProducerSession:
        """Block until a consumer's process joins, and negotiate with it.

        After each error the next process can be accepted. Objects created for the failed session are closed.

        Args:
            timeout: Limit in seconds; the server's if None.

        Returns:
            The session. The caller owns it and must close it.

        Raises:
            WaitTimeout: No process joined within the limit.
            PeerError: The process is not allowed, has gone, or sent a message that is not accepted.
            DeviceMismatch: The two processes have no device in common. The other process is told.
            NoCommonHandleType: No memory path joins the devices. The other process is told.
            NoCommonSync: No synchronisation strategy joins the devices. The other process is told.
        """
        wait = self._timeout if timeout is None else timeout
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(wait * 1000):
            raise WaitTimeout(f"a process to join at {self._path}", wait)
        with ExitStack() as undo:
            try:
                connection = undo.enter_context(self._socket.accept()[0])
            except OSError as error:
                raise PeerError(
                    f"the joining process went away before it was accepted: {error}; call accept() again"
                ) from error
            channel = Channel(connection, self._timeout)
            undo.push(channel.end)
            check_peer(channel.peer, self._allowed)
            session = self._agree(channel)
            undo.pop_all()
        return session

    def _agree(self, channel: Channel) -> ProducerSession:
        channel.session = secrets.token_bytes(wire.SESSION_SIZE)
        channel.send(Kind.WELCOME)
        with channel.receive("to say what it can do") as arrival:
            consumers, chosen = messages.read_hello(arrival.fields(Kind.HELLO))
        plugins = registry.default()
        if self._producer is not None:
            producers = [self._producer.device]
        else:
            producers = list(plugins.load_producer(self._name).devices())
        left, right, match = negotiation.select_devices(
            producers,
            consumers,
            producer_choice=self._choice,
            consumer_choice=consumers[0].index if chosen else None,
        )
        plan = negotiation.negotiate(
            left, right, match, sync=self._sync, path="zero-copy", veto=plugins.veto, apart=True
        )
        if self._producer is None:
            self._producer = plugins.load_producer(self._name).open_producer(left)
        return ProducerSession(channel, plan, consumers.index(right), self._producer, self._timeout)

    def close(self) -> None:
        """Remove the socket, and close the producer if the server opened it. Close all sessions first. Idempotent."""
        if self._socket.fileno() >= 0:
            self._socket.close()
            with contextlib.suppress(OSError):
                os.unlink(self._path)  # noqa: PTH108 - no pathlib at import
        producer, self._producer = self._producer, None
        if producer is not None and self._name:
            producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _listen(path: str) -> socket.socket:
    """Create the listening socket, which only this user can open."""
    _remove_stale(path)
    with ExitStack() as undo:
        listening = undo.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        try:
            # Before bind: at no time can another user connect.
            os.fchmod(listening.fileno(), stat.S_IRUSR | stat.S_IWUSR)
            listening.bind(path)
            listening.listen(8)
            listening.setblocking(False)  # noqa: FBT003 - its only parameter
        except OSError as error:
            raise InvalidArgument(
                f"cannot listen at {path!r}: {error.strerror or error}; pass a path in a directory that you own"
            ) from error
        undo.pop_all()
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket at which no process listens."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - no pathlib at import
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)  # noqa: PTH108 - as above
