"""Feed any bytes to the decoder of a session: it accepts the message or raises `ProtocolError`.

What holds for every input is asserted here, once, for the properties of the suite and for the coverage-guided fuzzer.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import doubles

from interop import DeviceIdentity, HandleType
from interop.ipc import ProtocolError
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.negotiation import MemoryPath, Plan, Rejection, Strategy, SyncPlan
from interop.protocols import DTYPES, MatchKey, MemoryDescriptor, SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable

SESSION = bytes(range(wire.SESSION_SIZE))
_DEVICE = doubles.consumer_info()
_NATIVE = SyncPlan(strategy=Strategy.NATIVE, kind=SemaphoreKind.BINARY, handle_type=HandleType.OPAQUE_FD)
_PLAN = Plan(
    producer=doubles.producer_info(),
    consumer=_DEVICE,
    match=MatchKey.UUID,
    path=MemoryPath.ZERO_COPY,
    handle_type=HandleType.OPAQUE_FD,
    to_consumer=_NATIVE,
    to_producer=SyncPlan(strategy=Strategy.BLOCKING),
    rejected=(Rejection("a timeline", "not here"),),
)
_OFFER = messages.Offer(
    number=0,
    name="heights",
    shape=(2, 2),
    dtype=DTYPES["float32"],
    nbytes=16,
    descriptor=MemoryDescriptor(
        allocation_size=64, size=16, offset=16, handle_type=HandleType.OPAQUE_FD, device=DeviceIdentity()
    ),
)
BODIES = {
    wire.Kind.HELLO: wire.encode_fields(messages.hello_fields([_DEVICE], chosen=True)),
    wire.Kind.PLAN: wire.encode_fields(messages.plan_fields(_PLAN, 0)),
    wire.Kind.BUFFER: wire.encode_fields(messages.offer_fields(_OFFER, _OFFER.descriptor)),
    wire.Kind.TURN: wire.encode_turn(wire.TurnBody(1, 2, (0, 1))),
}
"""A good body of each kind that has one."""


def _hello(body: bytes) -> None:
    devices, chosen = messages.read_hello(wire.Fields.decode(body, "hello"))
    assert devices
    assert len(devices) == 1 or not chosen
    written = wire.encode_fields(messages.hello_fields(devices, chosen=chosen))
    messages.read_hello(wire.Fields.decode(written, "hello"))


def _plan(body: bytes) -> None:
    plan = messages.read_plan(wire.Fields.decode(body, "plan"), [_DEVICE])
    assert plan.consumer is _DEVICE
    assert plan.handle_type in _DEVICE.capabilities.memory_import
    assert Strategy.BRIDGED not in {plan.to_consumer.strategy, plan.to_producer.strategy}


def _offer(body: bytes) -> None:
    offer = messages.read_offer(wire.Fields.decode(body, "offer"), HandleType.OPAQUE_FD)
    memory = offer.descriptor
    assert 0 < offer.nbytes <= memory.size <= memory.allocation_size - memory.offset < 2**63
    written = wire.encode_fields(messages.offer_fields(offer, memory))
    assert messages.read_offer(wire.Fields.decode(written, "offer"), HandleType.OPAQUE_FD) == offer


def _turn(body: bytes) -> None:
    turn = wire.decode_turn(body)
    assert 0 < len(set(turn.buffers)) == len(turn.buffers) <= wire.MAX_BUFFERS
    assert wire.encode_turn(turn) == body


_READERS: dict[wire.Kind, Callable[[bytes], None]] = {
    wire.Kind.HELLO: _hello,
    wire.Kind.PLAN: _plan,
    wire.Kind.BUFFER: _offer,
    wire.Kind.TURN: _turn,
}


def take(data: bytes, fds: int) -> bool:
    """Decode a datagram as either side does. Return whether it was accepted; raise any other error."""
    try:
        message = wire.decode(data, fds)
        assert wire.encode(message) == data
        read = _READERS.get(message.kind)
        if read is not None:
            read(message.body)
    except ProtocolError:
        return False
    return True


def datagram(kind: wire.Kind, body: bytes, fds: int = 0) -> bytes:
    """Return a message with a header that is right."""
    return wire.encode(wire.Message(kind, SESSION, 0, body, fds))


def words() -> list[str]:
    """Return names, keys and values of the protocol, which a fuzzer does not guess quickly."""
    found: set[str] = set()

    def walk(value: object) -> None:
        if isinstance(value, dict):
            found.update(value)
            for each in value.values():
                walk(each)
        elif isinstance(value, list):
            for each in value:
                walk(each)
        elif isinstance(value, str) and value:
            found.add(value)

    for kind, body in BODIES.items():
        if kind is not wire.Kind.TURN:
            walk(json.loads(body))
    found.update(each.value for names in (HandleType, SemaphoreKind, Strategy, MatchKey) for each in names)
    return sorted(found | set(DTYPES))
