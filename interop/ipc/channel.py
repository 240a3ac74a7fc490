"""One end of a session's socket: it sends and receives messages and descriptors. Each wait is bounded.

The channel owns each descriptor from its arrival on, and closes it when it refuses the message. Maps to ``sendmsg``
and ``recvmsg`` with ``SCM_RIGHTS`` (unix(7)).
"""

from __future__ import annotations

import array
import contextlib
import os
import select
import socket
import struct
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING

from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, Message
from interop.ipc.errors import PeerError, PeerLost, ProtocolError
from interop.protocols import ClosedError, InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import Handle

_CREDENTIALS = struct.Struct("iII")
_INT = array.array("i").itemsize
_CARRIERS = (Kind.PLAN, Kind.BUFFER)
_REASON = 1000  # characters of an error that the other process is told
_LAST_WORDS = 64  # unread messages that are searched for the reason why the other process has gone


@dataclass(frozen=True, slots=True)
class Peer:
    """Credentials of the process at the other end, from the kernel (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


def credentials(sock: socket.socket) -> Peer:
    """Return the credentials of the process at the other end of a connected socket."""
    return Peer(
        *_CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    )


def check_peer(peer: Peer, allowed_uids: Sequence[int]) -> None:
    """Raise :class:`PeerError` unless the peer runs as this process's user or as an allowed one."""
    if peer.uid != os.geteuid() and peer.uid not in allowed_uids:
        msg = (
            f"process {peer.pid} runs as user {peer.uid}, this process as user {os.geteuid()}; "
            f"pass allowed_uids=[{peer.uid}] to share with it"
        )
        raise PeerError(msg)


def check_timeout(timeout: float) -> None:
    """Raise :class:`InvalidArgument` unless ``timeout`` is a positive number of seconds."""
    if not timeout > 0:
        msg = f"timeout must be a positive number of seconds, got {timeout!r}"
        raise InvalidArgument(msg)


def _reason(message: Message) -> str:
    if message.kind is not Kind.REFUSE:
        return ""
    return wire.Fields.decode(message.body, "refusal").text("reason", 2 * _REASON)


def _check_whole(flags: int, *, foreign: bool) -> None:
    if foreign or flags & socket.MSG_CTRUNC:  # the kernel drops descriptors for which there is no room
        raise ProtocolError(
            f"expected at most {wire.MAX_FDS} descriptors and no other ancillary data, got more"
        )
    if flags & socket.MSG_TRUNC:
        raise ProtocolError(f"expected at most {wire.MAX_MESSAGE} bytes, got more")


class Arrival:
    """A message and its descriptors. Leaving its ``with`` block closes the descriptors that nobody took."""

    __slots__ = ("_close", "_fds", "message")

    def __init__(self, message: Message, fds: list[int], close: ExitStack) -> None:
        self.message = message
        self._fds = fds
        self._close = close

    def expect(self, kind: Kind) -> None:
        """Raise :class:`ProtocolError` unless the message has this kind."""
        if self.message.kind is not kind:
            raise ProtocolError(f"expected {kind.name}, got {self.message.kind.name}")
        if self._fds and kind not in _CARRIERS:
            raise ProtocolError(f"expected no descriptors with {kind.name}, got {len(self._fds)}")

    def fds(self) -> list[int]:
        """Return all descriptors. The caller owns them."""
        self._close.pop_all()
        return self._fds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()


class Channel:
    """A connected socket and the state of its session. One thread at a time may use it."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        """Take ownership of ``sock``, a ``SOCK_SEQPACKET`` socket; ``timeout`` bounds each wait, in seconds."""
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
        self._socket = sock
        self._timeout = timeout
        self.peer = credentials(sock)
        self.session = wire.NO_SESSION
        self._sent = 0
        self._received = 0
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self.failure: PeerError | None = None
        """The error that ended the session. Every later use raises it again."""

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._socket.fileno() < 0

    def send(self, kind: Kind, body: bytes = b"", handles: Sequence[Handle] = ()) -> None:
        """Send a message with duplicates of ``handles``. The caller keeps ownership of the handles.

        Raises :class:`PeerLost` if the other process has gone, :class:`WaitTimeout` if it does not read.
        """
        self._check()
        fds = array.array("i", [handle.value for handle in handles])
        data = wire.encode(Message(kind, self.session, self._sent, body, len(fds)))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)] if fds else []
        deadline = time.monotonic() + self._timeout
        while True:
            try:
                self._socket.sendmsg([data], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
            except BlockingIOError:
                self._ready(select.POLLOUT, deadline, "to read what was sent")
            except OSError as error:
                raise self._lost() from error
            else:
                self._sent += 1
                return

    def receive(self, what: str, timeout: float | None = None) -> Arrival:
        """Block until the next message arrives. ``what`` completes "process N ..." in the error of a timeout.

        Raises :class:`PeerLost` if the other process has gone, :class:`PeerError` if it refused,
        :class:`ProtocolError` for anything but a message of this session, and :class:`WaitTimeout`.
        """
        self._check()
        deadline = time.monotonic() + (self._timeout if timeout is None else timeout)
        while True:
            try:
                return self._take()
            except BlockingIOError:
                self._ready(select.POLLIN, deadline, what)

    def _take(self) -> Arrival:
        space = socket.CMSG_SPACE(wire.MAX_FDS * _INT)
        try:
            data, ancillary, flags, _ = self._socket.recvmsg(
                wire.MAX_MESSAGE, space, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
            )
        except ConnectionError as error:
            raise self._lost() from error
        with ExitStack() as undo:
            fds: list[int] = []
            foreign = False
            for level, kind, payload in ancillary:
                if (level, kind) != (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                    foreign = True
                    continue
                for (fd,) in struct.iter_unpack("i", payload[: len(payload) // _INT * _INT]):
                    undo.callback(os.close, fd)
                    fds.append(fd)
            if not data and not fds:
                raise self._lost()
            try:
                _check_whole(flags, foreign=foreign)
                message = wire.decode(data, len(fds))
                self._check_order(message)
                reason = _reason(message)
            except ProtocolError as error:
                raise self.refuse(error.reason) from error
            self._received += 1
            if message.kind is Kind.BYE:
                raise self._fail(PeerLost(self.peer.pid, "has closed its session", orderly=True))
            if message.kind is Kind.REFUSE:
                raise self._fail(PeerError(f"process {self.peer.pid} refused: {reason}"))
            return Arrival(message, fds, undo.pop_all())

    def _check_order(self, message: Message) -> None:
        if message.kind is Kind.WELCOME and self.session == wire.NO_SESSION:
            self.session = message.session
        if message.session != self.session or message.session == wire.NO_SESSION:
            raise ProtocolError("the message belongs to another session")
        if message.sequence != self._received:
            raise ProtocolError(f"expected message {self._received}, got message {message.sequence}")

    def _ready(self, events: int, deadline: float, what: str) -> None:
        left = deadline - time.monotonic()
        self._poll.modify(self._socket, events)
        if left <= 0 or not self._poll.poll(left * 1000):
            who = f"process {self.peer.pid} {what}"
            raise WaitTimeout(who, self._timeout)

    def refuse(self, reason: str) -> ProtocolError:
        """End the session because of a message that is not accepted; return the error to raise."""
        self.tell(Kind.REFUSE, reason)
        error = ProtocolError(reason, self.peer.pid)
        self.failure = error
        return error

    def tell(self, kind: Kind, reason: str = "") -> None:
        """Send a last message if the socket takes it at once. A failure to send is ignored."""
        if self.failure is not None or self.closed or self.session == wire.NO_SESSION:
            return
        body = wire.encode_fields({"reason": reason[:_REASON]}) if kind is Kind.REFUSE else b""
        data = wire.encode(Message(kind, self.session, self._sent, body))
        try:
            self._socket.sendmsg([data], [], socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        except OSError:
            return
        self._sent += 1

    def _lost(self) -> PeerError:
        """Return the error that ended the session. An unread last message of the other process decides it."""
        if self.failure is None:
            self.failure = PeerLost(self.peer.pid, "has gone")
            with contextlib.suppress(PeerError, OSError):
                for _ in range(_LAST_WORDS):
                    self._take().__exit__()  # raises for BYE and REFUSE; other messages no longer matter
        return self.failure

    def _fail(self, error: PeerError) -> PeerError:
        self.failure = error
        return error

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("the session is closed; call accept() or join() for a new one")
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()
