"""The socket at which a producer's process waits for consumers' processes."""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import stat
from typing import TYPE_CHECKING

from interop import negotiation, registry
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.channel import Channel, check_peer, credentials
from interop.ipc.errors import PeerError, ProtocolError
from interop.ipc.producing import Shared
from interop.protocols import InteropError, InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import Producer

DEFAULT_TIMEOUT = 10.0
"""Seconds after which a wait of a session gives up, unless ``serve`` or ``join`` say otherwise."""


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

    ``path`` is that of the socket, which is made for this user alone and removed on close; one that nobody
    listens at any more is replaced. ``producer``, ``device`` and ``sync`` as in :func:`interop.connect`
    (``"bridged"`` needs one process). ``timeout``, in seconds, bounds every wait. Processes of other users are
    turned away unless ``allowed_uids`` names them.
    """
    return Server(path, producer, device=device, sync=sync, timeout=timeout, allowed_uids=allowed_uids)


class Server:
    """Waits for consumers' processes; one session at a time or several. The producer's device is opened once."""

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
        if not timeout > 0:
            msg = f"timeout must be a positive number of seconds, got {timeout!r}"
            raise InvalidArgument(msg)
        self._path = path
        self._name = producer if isinstance(producer, str) else ""
        self._producer = None if isinstance(producer, str) else producer
        self._choice = device
        self._sync = sync
        self._timeout = timeout
        self._allowed = tuple(allowed_uids)
        self._socket = _listen(path)

    @property
    def path(self) -> str:
        """Where the socket is."""
        return self._path

    def accept(self, timeout: float | None = None) -> Shared:
        """Wait for a consumer's process and agree with it; the caller closes the session returned.

        Raises :class:`WaitTimeout` when none comes, :class:`PeerError` for one that is not accepted,
        :class:`DeviceMismatch`, :class:`NoCommonHandleType` or :class:`NoCommonSync` (which the other process is
        told too). After each of them the next process can be accepted; nothing of the last one stays.
        """
        wait = self._timeout if timeout is None else timeout
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        if not poll.poll(wait * 1000):
            raise WaitTimeout(f"a process to join at {self._path}", wait)
        try:
            connection, _ = self._socket.accept()
        except OSError as error:
            msg = f"a process went away before it was accepted: {error}"
            raise PeerError(msg) from error
        try:
            check_peer(credentials(connection), self._allowed)
        except BaseException:
            connection.close()
            raise
        channel = Channel(connection, self._timeout)
        try:
            return self._agree(channel)
        except InteropError as error:
            if not isinstance(error, PeerError):
                channel.tell(Kind.REFUSE, f"{type(error).__name__}: {error}")
            channel.close()
            raise
        except BaseException:
            channel.close()
            raise

    def _agree(self, channel: Channel) -> Shared:
        channel.session = secrets.token_bytes(wire.SESSION_SIZE)
        channel.send(Kind.WELCOME)
        with channel.receive("to say what it can do") as arrival:
            try:
                arrival.expect(Kind.HELLO)
                fields = wire.Fields.decode(arrival.message.body, "hello")
                consumers, chosen = messages.read_hello(fields)
            except ProtocolError as error:
                raise channel.refuse(error.reason) from error
        plugins = registry.default()
        if self._producer is not None:
            producers = [self._producer.device]
        else:
            producers = list(plugins.load_producer(self._name).devices())
        left, right, match = negotiation.select_devices(
            producers,
            consumers,
            producer_choice=self._choice if self._name else None,
            consumer_choice=consumers[0].index if chosen else None,
        )
        plan = negotiation.negotiate(
            left, right, match, sync=self._sync, path="zero-copy", veto=plugins.veto, apart=True
        )
        if self._producer is None:
            self._producer = plugins.load_producer(self._name).open_producer(left)
        return Shared(channel, plan, consumers.index(right), self._producer, self._timeout)

    def close(self) -> None:
        """Stop listening, remove the socket and close the device if it was opened here. Sessions must be closed."""
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
    """Make the socket, for this user alone."""
    _remove_stale(path)
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        os.fchmod(
            listening.fileno(), stat.S_IRUSR | stat.S_IWUSR
        )  # before bind: there is no moment without it
        listening.bind(path)
        listening.listen(8)
        listening.setblocking(False)  # noqa: FBT003 - its only parameter
    except OSError as error:
        listening.close()
        msg = f"cannot listen at {path!r}: {error.strerror or error}; give a path in a folder of your own"
        raise InvalidArgument(msg) from error
    except BaseException:
        listening.close()
        raise
    return listening


def _remove_stale(path: str) -> None:
    """Remove a socket that no process listens at."""
    with contextlib.suppress(OSError):
        if not stat.S_ISSOCK(os.stat(path).st_mode):  # noqa: PTH116 - no pathlib at import
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)  # noqa: PTH108 - as above
