"""Encoding and decoding of a session's messages. The decoder checks every field.

A message is one datagram of a ``SOCK_SEQPACKET`` socket: a header of fixed size and a body. The body of a turn is a
fixed struct. Every other body is a JSON object. The serving process gives each session a random name. That name and
the sequence number make sure that a message is accepted once only.
"""

from __future__ import annotations

import enum
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

from interop.ipc.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Self

VERSION = 2
"""Version of the protocol. Both processes must have the same one."""
MAX_BODY = 48 * 1024
"""Largest body in bytes. A socket's default send buffer holds several of this size."""
MAX_FDS = 2
"""Most descriptors of a message. A plan carries a semaphore for each direction."""
MAX_BUFFERS = 256
"""Most buffers of a session."""
SESSION_SIZE = 16
NO_SESSION = bytes(SESSION_SIZE)

_MAGIC = b"gIPC"
_HEADER = struct.Struct("<4sBBBxIQ16s")
_TURN = struct.Struct("<QQH")
_ID = struct.Struct("<H")
HEADER_SIZE = _HEADER.size
MAX_MESSAGE = HEADER_SIZE + MAX_BODY
_LIMIT = 2**64
_REFUSED = 500  # characters kept of the error of a refused value
_Read = TypeVar("_Read")


class Kind(enum.IntEnum):
    """The kind of a message, and its number on the wire."""

    WELCOME = 1
    """From the producer: the name of the session. Always the first message."""
    HELLO = 2
    """From the consumer: its devices and their capabilities."""
    PLAN = 3
    """From the producer: the negotiated plan. Carries the semaphores."""
    BUFFER = 4
    """From the producer: a buffer's name, shape and descriptor. Carries its memory."""
    TURN = 5
    """From either: passes the turn and the ownership of buffers."""
    REFUSE = 6
    """From either: a refusal and its reason. Ends the session."""
    BYE = 7
    """From either: an orderly end. Ends the session."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``fds`` is the number of descriptors sent with it."""

    kind: Kind
    session: bytes
    sequence: int
    body: bytes = b""
    fds: int = 0


@dataclass(frozen=True, slots=True)
class TurnBody:
    """The body of a :attr:`Kind.TURN`."""

    number: int
    """Number of the turn, counted over both processes from 1."""
    value: int
    """Timeline value to wait for in this direction; 0 if its semaphore is binary or missing."""
    buffers: tuple[int, ...]


def encode(message: Message) -> bytes:
    """Return a message as bytes. Raises :class:`ProtocolError` if its body is too large."""
    if len(message.body) > MAX_BODY:
        raise ProtocolError(f"expected a body of at most {MAX_BODY} bytes, got {len(message.body)}")
    head = (_MAGIC, VERSION, message.kind, message.fds, len(message.body), message.sequence, message.session)
    return _HEADER.pack(*head) + message.body


def decode(data: bytes, fds: int) -> Message:
    """Return the message in a datagram that carried ``fds`` descriptors. Raises :class:`ProtocolError`."""
    if len(data) < HEADER_SIZE:
        raise ProtocolError(f"expected a header of {HEADER_SIZE} bytes, got {len(data)}")
    magic, version, kind, announced, size, sequence, session = _HEADER.unpack_from(data)
    if magic != _MAGIC or data[7]:
        raise ProtocolError("the header does not begin with the mark of this protocol")
    if version != VERSION:
        raise ProtocolError(
            f"expected version {VERSION} of the protocol, got {version}; install the same interop for both processes"
        )
    if size > MAX_BODY or size != len(data) - HEADER_SIZE:
        raise ProtocolError(f"the header announces a body of {size} bytes, got {len(data) - HEADER_SIZE}")
    if announced != fds or fds > MAX_FDS:
        raise ProtocolError(f"the header announces {announced} descriptors, got {fds}")
    try:
        known = Kind(kind)
    except ValueError as error:
        raise ProtocolError(f"unknown kind of message: {kind}") from error
    return Message(known, session, sequence, data[HEADER_SIZE:], fds)


def encode_turn(turn: TurnBody) -> bytes:
    """Return the body of a turn."""
    ids = b"".join(map(_ID.pack, turn.buffers))
    return _TURN.pack(turn.number, turn.value, len(turn.buffers)) + ids


def decode_turn(body: bytes) -> TurnBody:
    """Return the turn in a body. Raises :class:`ProtocolError`."""
    if len(body) < _TURN.size:
        raise ProtocolError(f"expected a turn of at least {_TURN.size} bytes, got {len(body)}")
    number, value, count = _TURN.unpack_from(body)
    if not 0 < count <= MAX_BUFFERS or len(body) != _TURN.size + count * _ID.size:
        raise ProtocolError(f"a turn of {count} buffers does not fit its {len(body)} bytes")
    ids = tuple(found for (found,) in _ID.iter_unpack(body[_TURN.size :]))
    if len(set(ids)) != count:
        raise ProtocolError("the turn names a buffer twice")
    return TurnBody(number, value, ids)


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """Return a JSON object as a body."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


class Fields:
    """The JSON object of a body. Each method removes one member and checks its type.

    All members are read inside a ``with`` block, whose end checks what is left.
    """

    __slots__ = ("_left", "_where")

    def __init__(self, found: object, where: str) -> None:
        """Take a decoded object. Raises :class:`ProtocolError` for anything else."""
        if not isinstance(found, dict):
            raise ProtocolError(f"{where}: not an object")
        self._left = cast("dict[str, object]", found)
        self._where = where

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        """Raise :class:`ProtocolError` for a value that its type refuses, and for members that no method removed."""
        if isinstance(error, ValueError):
            raise ProtocolError(f"{self._where}: {str(error)[:_REFUSED]}") from error
        if error is None and self._left:
            raise ProtocolError(f"{self._where}: unknown member {min(self._left)[:40]!r}")

    @classmethod
    def decode(cls, body: bytes, where: str) -> Fields:
        """Read a body. Raises :class:`ProtocolError` for anything but one JSON object."""
        try:
            found: object = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"{where}: not JSON: {str(error)[:80]}") from error
        return cls(found, where)

    def _take(self, name: str, kind: type) -> object:
        value = self._left.pop(name, None)
        if type(value) is not kind:  # bool is an int to isinstance()
            raise ProtocolError(
                f"{self._where}: {name} must be of type {kind.__name__}, got {type(value).__name__}"
            )
        return value

    def text(self, name: str, limit: int = 1024) -> str:
        """Return a string of at most ``limit`` characters."""
        value = cast("str", self._take(name, str))
        if len(value) > limit:
            raise ProtocolError(f"{self._where}: {name} has {len(value)} characters; the limit is {limit}")
        return value

    def optional(self, name: str, read: Callable[[str], _Read]) -> _Read | None:
        """Return what ``read`` makes of a string, or None for null."""
        if self._left.get(name, "") is None:
            del self._left[name]
            return None
        return read(self.text(name))

    def number(self, name: str) -> int:
        """Return an integer from 0 to 2**64 - 1."""
        value = cast("int", self._take(name, int))
        if not 0 <= value < _LIMIT:
            raise ProtocolError(f"{self._where}: {name} must be 0 to 2**64 - 1, got {value}")
        return value

    def flag(self, name: str) -> bool:
        """Return a boolean."""
        return cast("bool", self._take(name, bool))

    def items(self, name: str, limit: int) -> Sequence[object]:
        """Return a list of at most ``limit`` items of any type."""
        value = cast("list[object]", self._take(name, list))
        if len(value) > limit:
            raise ProtocolError(f"{self._where}: {name} has {len(value)} items; the limit is {limit}")
        return value

    def texts(self, name: str, limit: int = 64) -> list[str]:
        """Return a list of strings."""
        values = self.items(name, limit)
        if not all(type(value) is str for value in values):
            raise ProtocolError(f"{self._where}: {name} must hold strings")
        return cast("list[str]", list(values))

    def numbers(self, name: str, limit: int = 16) -> list[int]:
        """Return a list of integers from 0 to 2**63 - 1."""
        values = self.items(name, limit)
        if not all(type(value) is int and 0 <= value < _LIMIT // 2 for value in values):
            raise ProtocolError(f"{self._where}: {name} must hold integers from 0 to 2**63 - 1")
        return cast("list[int]", list(values))

    def part(self, name: str) -> Fields:
        """Return an object."""
        return Fields(self._take(name, dict), f"{self._where}.{name}")

    def parts(self, name: str, limit: int = 16) -> list[Fields]:
        """Return a list of objects."""
        return [Fields(found, f"{self._where}.{name}") for found in self.items(name, limit)]
