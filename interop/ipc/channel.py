"""One end of a session's socket: messages and descriptors in and out, each wait bounded.

Every descriptor that arrives is owned from the instruction after the system call on, and closed when its message
is refused. Maps to ``sendmsg`` and ``recvmsg`` with ``SCM_RIGHTS`` (unix(7)).
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
from interop.protocols import ClosedError, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Self

    from interop.protocols import Handle

_CREDENTIALS = struct.Struct("iII")
_INT = array.array("i").itemsize
_CARRIERS = (Kind.PLAN, Kind.BUFFER)
_REASON = 1000  # characters of an error that are told to the other side
_LAST_WORDS = 64  # unread messages that are looked through for the reason why the other side has gone


@dataclass(frozen=True, slots=True)
class Peer:
    """The process at the other end, as the kernel knows it (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


def credentials(sock: socket.socket) -> Peer:
    """Return who is at the other end of a connected socket."""
    return Peer(
        *_CREDENTIALS.unpack(sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size))
    )


def check_peer(peer: Peer, allowed_uids: Sequence[int]) -> None:
    """Raise :class:`PeerError` unless the peer runs as this process's user or as one of those allowed."""
    if peer.uid != os.geteuid() and peer.uid not in allowed_uids:
        msg = (
            f"process {peer.pid} runs as user {peer.uid}, this one as {os.geteuid()}; "
            f"name the user in allowed_uids to share with it"
        )
        raise PeerError(msg)


def _reason(message: Message) -> str:
    if message.kind is not Kind.REFUSE:
        return ""
    return wire.Fields.decode(message.body, "refusal").text("reason", 2 * _REASON)


def _check_whole(flags: int, *, foreign: bool) -> None:
    if foreign or flags & socket.MSG_CTRUNC:  # the kernel has dropped those for which there was no room
        raise ProtocolError("more descriptors, or other things, than any message carries")
    if flags & socket.MSG_TRUNC:
        raise ProtocolError(f"more than {wire.MAX_MESSAGE} bytes")


class Arrival:
    """A message and the descriptors that came with it. Those not taken are closed on leaving its ``with``."""

    __slots__ = ("_close", "_fds", "message")

    def __init__(self, message: Message, fds: list[int], close: ExitStack) -> None:
        self.message = message
        self._fds = fds
        self._close = close

    def expect(self, kind: Kind) -> None:
        """Raise :class:`ProtocolError` unless the message is of this kind."""
        if self.message.kind is not kind:
            raise ProtocolError(f"{self.message.kind.name} where {kind.name} was due")
        if self._fds and kind not in _CARRIERS:
            raise ProtocolError(f"{len(self._fds)} descriptors with {kind.name}")

    def fds(self) -> list[int]:
        """Pass the ownership of all descriptors to the caller."""
        self._close.pop_all()
        return self._fds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._close.close()


class Channel:
    """A connected socket, owned from here on. Used by one thread at a time."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        """Take over ``sock``, of type ``SOCK_SEQPACKET``; ``timeout`` in seconds bounds each wait."""
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
        """What ended the session; every later use raises it again."""

    @property
    def closed(self) -> bool:
        """Whether :meth:`close` was called."""
        return self._socket.fileno() < 0

    def send(self, kind: Kind, body: bytes = b"", handles: Sequence[Handle] = ()) -> None:
        """Send a message with duplicates of ``handles``, which stay the caller's.

        Raises :class:`PeerLost` when nobody is there, :class:`WaitTimeout` when the other side does not read.
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
        """Wait for the next message; ``what`` says for people what is waited for.

        Raises :class:`PeerLost` when the other process has gone, :class:`PeerError` when it refused,
        :class:`ProtocolError` for what is not a message of this session, :class:`WaitTimeout`.
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
                raise self._fail(PeerLost(self.peer.pid, "has ended the session", orderly=True))
            if message.kind is Kind.REFUSE:
                raise self._fail(PeerError(f"process {self.peer.pid} refused: {reason}"))
            return Arrival(message, fds, undo.pop_all())

    def _check_order(self, message: Message) -> None:
        if message.kind is Kind.WELCOME and self.session == wire.NO_SESSION:
            self.session = message.session
        if message.session != self.session or message.session == wire.NO_SESSION:
            raise ProtocolError("it belongs to another session")
        if message.sequence != self._received:
            raise ProtocolError(f"message {message.sequence} where {self._received} was due")

    def _ready(self, events: int, deadline: float, what: str) -> None:
        left = deadline - time.monotonic()
        self._poll.modify(self._socket, events)
        if left <= 0 or not self._poll.poll(left * 1000):
            who = f"process {self.peer.pid} {what}"
            raise WaitTimeout(who, self._timeout)

    def refuse(self, reason: str) -> ProtocolError:
        """End the session because of what the other side sent; return the error to raise."""
        self.tell(Kind.REFUSE, reason)
        error = ProtocolError(reason, self.peer.pid)
        self.failure = error
        return error

    def tell(self, kind: Kind, reason: str = "") -> None:
        """Send a last message if that can be done at once; whether it arrives changes nothing here."""
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
        """Return what ended the session: its last message, where one is still unread."""
        if self.failure is None:
            self.failure = PeerLost(self.peer.pid, "has gone")
            with contextlib.suppress(PeerError, OSError):
                for _ in range(_LAST_WORDS):
                    self._take().__exit__()  # anything but a last word no longer matters
        return self.failure

    def _fail(self, error: PeerError) -> PeerError:
        self.failure = error
        return error

    def _check(self) -> None:
        if self.closed:
            raise ClosedError("the session is closed")
        if self.failure is not None:
            raise self.failure

    def close(self) -> None:
        """Close the socket; the other side sees the end. A second call does nothing."""
        self._socket.close()
