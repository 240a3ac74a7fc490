"""The messages of a session as bytes, and back; nothing is believed that was not checked.

A message is one datagram of a ``SOCK_SEQPACKET`` socket, so that the kernel keeps its bounds: a header of fixed
size, and a body. The body of a turn is a fixed struct, every other one is a JSON object. A session has a random
name that the serving process gives; with it and the sequence number, each message is accepted once only.
"""

from __future__ import annotations

import enum
import json
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from interop.ipc.errors import ProtocolError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

VERSION = 2
"""2: an offer names its allocation; a device tells the nodes behind its LUID and the alignment of its views."""
MAX_BODY = 48 * 1024
"""Bytes of the largest body; a socket's default send buffer holds several of them."""
MAX_FDS = 2
"""A plan carries a semaphore for each direction; nothing carries more."""
MAX_BUFFERS = 256
"""Buffers of one session."""
SESSION_SIZE = 16
NO_SESSION = bytes(SESSION_SIZE)

_MAGIC = b"gIPC"
_HEADER = struct.Struct("<4sBBBxIQ16s")
_TURN = struct.Struct("<QQH")
_ID = struct.Struct("<H")
HEADER_SIZE = _HEADER.size
MAX_MESSAGE = HEADER_SIZE + MAX_BODY
_LIMIT = 2**64


class Kind(enum.IntEnum):
    """What a message says. The numbers are those on the wire."""

    WELCOME = 1
    """Producer: the name of the session. The first message of all."""
    HELLO = 2
    """Consumer: its devices and what they can do."""
    PLAN = 3
    """Producer: what was negotiated; carries the semaphores."""
    BUFFER = 4
    """Producer: a buffer's name, shape and descriptor; carries its memory."""
    TURN = 5
    """Either: these buffers are yours now."""
    REFUSE = 6
    """Either: this cannot be, and why. The last message."""
    BYE = 7
    """Either: an orderly end. The last message."""


@dataclass(frozen=True, slots=True)
class Message:
    """One message. ``fds`` counts the descriptors that travel beside it."""

    kind: Kind
    session: bytes
    sequence: int
    body: bytes = b""
    fds: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """The body of a :attr:`Kind.TURN`."""

    number: int
    """Counts the turns of both sides together, from 1."""
    value: int
    """What to wait for on the semaphore of the direction; 0 where it is binary or there is none."""
    buffers: tuple[int, ...]


def encode(message: Message) -> bytes:
    """Return a message as bytes. Raises :class:`ProtocolError` when it is too large to be accepted."""
    if len(message.body) > MAX_BODY:
        raise ProtocolError(f"a body of {len(message.body)} bytes; at most {MAX_BODY} fit")
    head = (_MAGIC, VERSION, message.kind, message.fds, len(message.body), message.sequence, message.session)
    return _HEADER.pack(*head) + message.body


def decode(data: bytes, fds: int) -> Message:
    """Return the message in a datagram with which ``fds`` descriptors came. Raises :class:`ProtocolError`."""
    if len(data) < HEADER_SIZE:
        raise ProtocolError(f"{len(data)} bytes, less than a header")
    magic, version, kind, announced, size, sequence, session = _HEADER.unpack_from(data)
    if magic != _MAGIC or data[7]:
        raise ProtocolError("it is of another protocol")
    if version != VERSION:
        raise ProtocolError(f"version {version} of the protocol; this is version {VERSION}")
    if size > MAX_BODY or size != len(data) - HEADER_SIZE:
        raise ProtocolError(f"a body of {size} bytes announced, {len(data) - HEADER_SIZE} came")
    if announced != fds or fds > MAX_FDS:
        raise ProtocolError(f"{announced} descriptors announced, {fds} came")
    try:
        known = Kind(kind)
    except ValueError as error:
        raise ProtocolError(f"unknown kind {kind}") from error
    return Message(known, session, sequence, data[HEADER_SIZE:], fds)


def encode_turn(turn: Turn) -> bytes:
    """Return the body of a turn."""
    ids = b"".join(map(_ID.pack, turn.buffers))
    return _TURN.pack(turn.number, turn.value, len(turn.buffers)) + ids


def decode_turn(body: bytes) -> Turn:
    """Return the turn in a body. Raises :class:`ProtocolError`."""
    if len(body) < _TURN.size:
        raise ProtocolError("a turn that is cut off")
    number, value, count = _TURN.unpack_from(body)
    if not 0 < count <= MAX_BUFFERS or len(body) != _TURN.size + count * _ID.size:
        raise ProtocolError(f"a turn of {count} buffers in {len(body)} bytes")
    ids = tuple(found for (found,) in _ID.iter_unpack(body[_TURN.size :]))
    if len(set(ids)) != count:
        raise ProtocolError("a turn that names a buffer twice")
    return Turn(number, value, ids)


def encode_fields(fields: Mapping[str, object]) -> bytes:
    """Return a JSON object as a body."""
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode()


class Fields:
    """The JSON object of a body, taken apart with the type of every part checked."""

    __slots__ = ("_left", "_where")

    def __init__(self, fields: Mapping[str, object], where: str) -> None:
        self._left = dict(fields)
        self._where = where

    @classmethod
    def decode(cls, body: bytes, where: str) -> Fields:
        """Read a body. Raises :class:`ProtocolError` for anything but one JSON object."""
        try:
            found: object = json.loads(body.decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise ProtocolError(f"{where}: not JSON: {str(error)[:80]}") from error
        return cls._of(found, where)

    @classmethod
    def _of(cls, found: object, where: str) -> Fields:
        if not isinstance(found, dict):
            raise ProtocolError(f"{where}: not an object")
        return cls(cast("dict[str, object]", found), where)

    def _take(self, name: str, kind: type) -> object:
        value = self._left.pop(name, None)
        if type(value) is not kind:  # bool is an int to isinstance()
            raise ProtocolError(f"{self._where}: {name} must be of type {kind.__name__}")
        return value

    def text(self, name: str, limit: int = 1024) -> str:
        """Return a string of at most ``limit`` characters."""
        value = cast("str", self._take(name, str))
        if len(value) > limit:
            raise ProtocolError(f"{self._where}: {name} has {len(value)} characters; at most {limit} may be")
        return value

    def optional_text(self, name: str) -> str | None:
        """Return a string, or None where it is null."""
        if self._left.get(name, "") is None:
            del self._left[name]
            return None
        return self.text(name)

    def number(self, name: str) -> int:
        """Return an integer from 0 to 2**64 - 1."""
        value = cast("int", self._take(name, int))
        if not 0 <= value < _LIMIT:
            raise ProtocolError(f"{self._where}: {name} is out of range")
        return value

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        return cast("bool", self._take(name, bool))

    def items(self, name: str, limit: int) -> Sequence[object]:
        """Return a list of at most ``limit`` items of any type."""
        value = cast("list[object]", self._take(name, list))
        if len(value) > limit:
            raise ProtocolError(f"{self._where}: {name} has {len(value)} items; at most {limit} may be")
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
            raise ProtocolError(f"{self._where}: {name} must hold integers that are not negative")
        return cast("list[int]", list(values))

    def part(self, name: str) -> Fields:
        """Return an object."""
        return Fields(cast("dict[str, object]", self._take(name, dict)), f"{self._where}.{name}")

    def parts(self, name: str, limit: int = 16) -> list[Fields]:
        """Return a list of objects."""
        return [Fields._of(found, f"{self._where}.{name}") for found in self.items(name, limit)]

    def end(self) -> None:
        """Raise :class:`ProtocolError` when something is left that nobody asked for."""
        if self._left:
            raise ProtocolError(f"{self._where}: unknown {min(self._left)[:40]!r}")
