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
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, Message
from interop.ipc.errors import PeerError, PeerLost, ProtocolError
from interop.protocols import ClosedError, InvalidArgument, WaitTimeout

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Self

    from interop.protocols import Handle

_CREDENTIALS = struct.Struct("iII")
_INT = array.array("i").itemsize
_CARRIERS = (Kind.PLAN, Kind.BUFFER)
_REASON = 1000  # characters of an error that the other process is told
_LAST_WORDS = 64  # unread messages that are searched for the reason why the other process has gone
_Done = TypeVar("_Done")


@dataclass(frozen=True, slots=True)
class Peer:
    """Credentials of the process at the other end, from the kernel (``SO_PEERCRED``)."""

    pid: int
    uid: int
    gid: int


def check_peer(peer: Peer, allowed_uids: Sequence[int]) -> None:
    """Raise :class:`PeerError` unless the peer runs as this process's user or as an allowed one."""
    if peer.uid != os.geteuid() and peer.uid not in allowed_uids:
        raise PeerError(
            f"process {peer.pid} runs as user {peer.uid}, this process as user {os.geteuid()}; "
            f"pass allowed_uids=[{peer.uid}] to share with it"
        )


def check_timeout(timeout: float) -> None:
    """Raise :class:`InvalidArgument` unless ``timeout`` is a positive number of seconds."""
    if not timeout > 0:
        raise InvalidArgument(f"timeout must be a positive number of seconds, got {timeout!r}")


def _check_whole(flags: int, *, foreign: bool) -> None:
    if foreign or flags & socket.MSG_CTRUNC:  # the kernel drops descriptors for which there is no room
        raise ProtocolError(
            f"expected at most {wire.MAX_FDS} descriptors and no other ancillary data, got more"
        )
    if flags & socket.MSG_TRUNC:
        raise ProtocolError(f"expected at most {wire.MAX_MESSAGE} bytes, got more")


class Arrival:
    """A message and its descriptors. Leaving its ``with`` block closes the descriptors that nobody took.

    A :class:`ProtocolError` in the block ends the session, and the other process is told the reason.
    """

    __slots__ = ("_channel", "_close", "_fds", "message")

    def __init__(self, channel: Channel, message: Message, fds: Sequence[int], close: ExitStack) -> None:
        self._channel = channel
        self.message = message
        self._fds = fds
        self._close = close

    def expect(self, kind: Kind) -> None:
        """Raise :class:`ProtocolError` unless the message has this kind."""
        if self.message.kind is not kind:
            raise ProtocolError(f"expected {kind.name}, got {self.message.kind.name}")
        if self._fds and kind not in _CARRIERS:
            raise ProtocolError(f"expected no descriptors with {kind.name}, got {len(self._fds)}")

    def fields(self, kind: Kind) -> wire.Fields:
        """Return the members of the body. Raises :class:`ProtocolError` unless the message has this kind."""
        self.expect(kind)
        return wire.Fields.decode(self.message.body, kind.name.lower())

    def fds(self) -> Sequence[int]:
        """Return all descriptors. The caller owns them."""
        self._close.pop_all()
        return self._fds

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self._close.close()
        if isinstance(error, ProtocolError):
            raise self._channel.refuse(error.reason) from error


class Channel:
    """A connected socket and the state of its session. One thread at a time may use it."""

    def __init__(self, sock: socket.socket, timeout: float) -> None:
        """Take ownership of ``sock``, a ``SOCK_SEQPACKET`` socket; ``timeout`` bounds each wait, in seconds."""
        sock.setblocking(False)  # noqa: FBT003 - its only parameter
        self._socket = sock
        self._timeout = timeout
        said = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        self.peer = Peer(*_CREDENTIALS.unpack(said))
        self.session = wire.NO_SESSION
        self._sent = 0
        self._received = 0
        self._poll = select.poll()
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
        put = partial(self._put, kind, body, [handle.value for handle in handles])
        self._patiently(put, select.POLLOUT, "to read what was sent", self._timeout)

    def _put(self, kind: Kind, body: bytes, fds: Sequence[int] = ()) -> None:
        data = wire.encode(Message(kind, self.session, self._sent, body, len(fds)))
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        self._socket.sendmsg([data], rights, socket.MSG_NOSIGNAL | socket.MSG_DONTWAIT)
        self._sent += 1

    def receive(self, what: str, timeout: float | None = None) -> Arrival:
        """Block until the next message arrives. ``what`` completes "process N ..." in the error of a timeout.

        Raises :class:`PeerLost` if the other process has gone, :class:`PeerError` if it refused,
        :class:`ProtocolError` for anything but a message of this session, and :class:`WaitTimeout`.
        """
        limit = self._timeout if timeout is None else timeout
        return self._patiently(self._take, select.POLLIN, what, limit)

    def _patiently(self, act: Callable[[], _Done], event: int, what: str, limit: float) -> _Done:
        """Call ``act`` again at each ``event`` of the socket until it does not have to wait; return its result."""
        if self.closed:
            raise ClosedError("the session is closed; call accept() or join() for a new one")
        if self.failure is not None:
            raise self.failure
        deadline = time.monotonic() + limit
        while True:
            try:
                return act()
            except BlockingIOError:
                left = deadline - time.monotonic()
                self._poll.register(self._socket, event)
                if left <= 0 or not self._poll.poll(left * 1000):
                    raise WaitTimeout(f"process {self.peer.pid} {what}", limit) from None
            except OSError as error:
                raise self._lost() from error

    def _take(self) -> Arrival:
        space = socket.CMSG_SPACE(wire.MAX_FDS * _INT)
        data, ancillary, flags, _ = self._socket.recvmsg(
            wire.MAX_MESSAGE, space, socket.MSG_CMSG_CLOEXEC | socket.MSG_DONTWAIT
        )
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS)
        with ExitStack() as undo:
            fds = array.array("i")
            for level, kind, payload in ancillary:
                if (level, kind) == rights:
                    fds.frombytes(payload[: len(payload) // _INT * _INT])
            for fd in fds:
                undo.callback(os.close, fd)
            if not data and not fds:
                raise self._lost()
            try:
                _check_whole(flags, foreign=any((level, kind) != rights for level, kind, _ in ancillary))
                message = wire.decode(data, len(fds))
                self._check_order(message)
                reason = ""
                if message.kind is Kind.REFUSE:
                    reason = wire.Fields.decode(message.body, "refusal").text("reason", 2 * _REASON)
            except ProtocolError as error:
                raise self.refuse(error.reason) from error
            self._received += 1
            if message.kind is Kind.BYE:
                raise self._fail(PeerLost(self.peer.pid, "has closed its session", orderly=True))
            if message.kind is Kind.REFUSE:
                raise self._fail(PeerError(f"process {self.peer.pid} refused: {reason}"))
            return Arrival(self, message, fds, undo.pop_all())

    def _check_order(self, message: Message) -> None:
        if message.kind is Kind.WELCOME and self.session == wire.NO_SESSION:
            self.session = message.session
        if message.session != self.session or message.session == wire.NO_SESSION:
            raise ProtocolError("the message belongs to another session")
        if message.sequence != self._received:
            raise ProtocolError(f"expected message {self._received}, got message {message.sequence}")

    def refuse(self, reason: str) -> PeerError:
        """End the session because of a message that is not accepted; return the error to raise."""
        self.tell(Kind.REFUSE, reason)
        return self._fail(ProtocolError(reason, self.peer.pid))

    def tell(self, kind: Kind, reason: str = "") -> None:
        """Send a last message if the socket takes it at once. A failure to send is ignored."""
        if self.failure is not None or self.closed or self.session == wire.NO_SESSION:
            return
        body = wire.encode_fields({"reason": reason[:_REASON]}) if kind is Kind.REFUSE else b""
        with contextlib.suppress(OSError):
            self._put(kind, body)

    def _lost(self) -> PeerError:
        """Return the error that ended the session. An unread last message of the other process decides it."""
        if self.failure is None:
            self.failure = PeerLost(self.peer.pid, "has gone")
            with contextlib.suppress(PeerError, OSError):
                for _ in range(_LAST_WORDS):
                    # Raises for BYE and REFUSE; other messages no longer matter.
                    self._take().__exit__(None, None, None)
        return self.failure

    def _fail(self, error: PeerError) -> PeerError:
        self.failure = error
        return error

    def close(self) -> None:
        """Close the socket. Idempotent."""
        self._socket.close()

    def report(self, error: BaseException | None) -> None:
        """Tell the other process the error that ends this side. It needs no report of a :class:`PeerError`."""
        if error is not None and not isinstance(error, PeerError):
            self.tell(Kind.REFUSE, f"{type(error).__name__}: {error}")

    def end(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        """Report an error, if there is one, and close the socket. For :meth:`contextlib.ExitStack.push`."""
        self.report(error)
        self.close()
