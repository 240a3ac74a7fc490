"""Two processes: frames, kills on either side, hostile peers, and bytes that no peer should send."""

from __future__ import annotations

import array
import json
import os
import pickle
import socket
import struct
import sys
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

import doubles
import fresh
import ipc_hosts
import pytest
import software
from hypothesis import given
from hypothesis import strategies as st

import interop
from interop import Handle, HandleType, WaitTimeout
from interop.ipc import PeerError, PeerLost, ProtocolError
from interop.ipc import _arrivals as arrivals
from interop.ipc import _messages as messages
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind, Message, TurnBody
from interop.ipc.channel import Channel, check_peer
from interop.protocols import DTYPES, MemoryDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interop.protocols import SemaphoreKind

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="handles travel over Linux sockets")

FRAMES = 300
TIMEOUT = 2.0
SESSION = bytes(range(16))


@pytest.mark.parametrize(
    ("consumer", "switches", "strategy"),
    [
        ("opencl", {}, "to consumer  native (binary, opaque_fd)"),
        ("hip", {}, "to consumer  native (binary, opaque_fd)"),
        ("hip", {"SOFTGPU_HIP_SEMAPHORES": "0"}, "to consumer  blocking"),
        ("numpy", {}, "to consumer  blocking"),
    ],
)
def test_frames_then_a_killed_consumer_then_frames(
    consumer: str, switches: dict[str, str], strategy: str
) -> None:
    found = fresh.call(
        ipc_hosts.sessions,
        software.environment("swiftshader", **switches),
        consumer=consumer,
        sync="auto",
        frames=FRAMES,
        timeout=100,
    )
    assert strategy in found["run"]["explanation"]
    assert "to producer  blocking" in found["run"]["explanation"]
    for run in (found["run"], found["after"]):
        assert (run["wrong"], run["consumer_status"]) == (0, 0)
    assert found["killed"]["good"], found["killed"]
    assert found["left"] == []


@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
def test_parts_of_one_allocation_are_one_import_in_the_other_process(consumer: str) -> None:
    found = fresh.call(
        ipc_hosts.parts_over_a_socket, software.environment(), consumer=consumer, count=40, timeout=60
    )
    assert found == {"imported": 1, "held": 1, "wrong": 0, "status": 0}


@pytest.mark.parametrize("consumer", ["opencl", "hip", "numpy"])
def test_a_killed_producer_is_known_and_everything_is_closed(consumer: str) -> None:
    found = fresh.call(ipc_hosts.survive_producer, software.environment(), consumer=consumer, timeout=60)
    assert [known for known, _ in found["seen"]] == [True] * 3
    assert all(seconds < TIMEOUT for _, seconds in found["seen"])
    assert found["left"] == []


@pytest.mark.parametrize(("sync", "error"), [("bridged", "NoCommonSync"), ("native", "NoCommonSync")])
def test_what_cannot_be_between_processes_is_refused_on_both_sides(sync: str, error: str) -> None:
    found = fresh.call(ipc_hosts.refusal, software.environment(), sync=sync, timeout=60)
    assert found["errors"] == [error]
    assert "NoCommonSync" in found["told"]
    assert "different processes" in found["told"] or "killed" in found["told"]


# Hostile peers: a real socket, whose other end says what it likes.


def hello(sequence: int = 0, session: bytes = SESSION, body: bytes = b"", fds: int = 0) -> bytes:
    return wire.encode(Message(Kind.BUFFER, session, sequence, body, fds))


def pair() -> tuple[Channel, socket.socket]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours, TIMEOUT)
    channel.session = SESSION
    return channel, theirs


def send(sock: socket.socket, data: bytes, fds: list[int]) -> None:
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
    sock.sendmsg([data], rights)


GOOD = hello()
BROKEN: list[tuple[str, bytes, int]] = [
    ("truncated", GOOD[:-1], 0),
    ("empty with a descriptor", b"", 1),
    ("oversized", GOOD + bytes(wire.MAX_MESSAGE), 0),
    ("a lying length", hello(body=b"xx")[:-1], 0),
    ("another protocol", b"nope" + GOOD[4:], 0),
    ("another version", GOOD[:4] + b"\x09" + GOOD[5:], 0),
    ("an unknown kind", GOOD[:5] + b"\xff" + GOOD[6:], 0),
    ("a missing descriptor", hello(fds=1), 0),
    ("an unannounced descriptor", GOOD, 1),
    ("too many descriptors", hello(fds=200), 200),
    ("another session", hello(session=bytes(16)), 0),
    ("out of order", hello(sequence=3), 0),
    ("a refusal that is no refusal", wire.encode(Message(Kind.REFUSE, SESSION, 0, b"[[[[")), 0),
]


@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.parametrize(("data", "count"), [case[1:] for case in BROKEN], ids=[case[0] for case in BROKEN])
def test_a_broken_message_is_refused_and_its_descriptors_closed(data: bytes, count: int) -> None:
    channel, theirs = pair()
    held = len(os.listdir("/proc/self/fd"))
    with theirs, open("/dev/zero", "rb") as zero:  # noqa: PTH123 - a descriptor is what is needed
        theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
        send(theirs, data, [zero.fileno()] * count)
        with pytest.raises(ProtocolError) as raised:
            channel.receive("to speak")
        assert raised.value.pid == os.getpid()
        assert len(os.listdir("/proc/self/fd")) == held + 1
        with pytest.raises(ProtocolError):  # the session is over
            channel.send(Kind.BYE)
        channel.close()


@pytest.mark.usefixtures("nothing_left_behind")
def test_a_replayed_message_is_refused() -> None:
    channel, theirs = pair()
    with theirs:
        theirs.send(GOOD)
        with channel.receive("to speak"):
            pass
        theirs.send(GOOD)
        with pytest.raises(ProtocolError, match="expected message 1, got message 0"):
            channel.receive("to speak")
        channel.close()


@pytest.mark.usefixtures("nothing_left_behind")
def test_silence_and_departure_are_told_apart() -> None:
    channel, theirs = pair()
    with pytest.raises(WaitTimeout):
        channel.receive("to speak", 0.05)
    theirs.close()
    with pytest.raises(PeerLost) as lost:
        channel.receive("to speak")
    assert lost.value.pid == os.getpid()
    channel.close()


@pytest.mark.usefixtures("nothing_left_behind")
def test_a_peer_that_does_not_read_is_not_waited_for_for_ever() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with theirs:
        channel = Channel(ours, 0.2)
        with pytest.raises(WaitTimeout):
            for _ in range(10_000):
                channel.send(Kind.HELLO, bytes(1000))
        channel.close()


@pytest.mark.parametrize(
    "error",
    [
        PeerError("process 1 refused: no"),
        PeerLost(7, "has closed its session", orderly=True),
        ProtocolError("expected TURN, got HELLO", 7),
    ],
    ids=lambda error: type(error).__name__,
)
def test_errors_survive_pickle(error: PeerError) -> None:
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - bytes of this process
    assert (type(again), str(again), again.__dict__) == (type(error), str(error), error.__dict__)


def memfd(size: int) -> int:
    fd = os.memfd_create("memory")
    os.truncate(fd, size)
    return fd


def a_socket() -> int:
    ours, theirs = socket.socketpair()
    theirs.close()
    return ours.detach()


@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.parametrize(
    "make",
    [
        lambda: os.open("/dev/zero", os.O_RDWR),
        lambda: os.open("/", os.O_RDONLY),
        lambda: os.open(__file__, os.O_RDONLY),
        a_socket,
        lambda: memfd(4095),
        lambda: memfd(0),
    ],
    ids=["zero", "folder", "file", "socket", "too small", "empty"],
)
def test_a_descriptor_that_cannot_be_the_memory_is_refused(make: Callable[[], int]) -> None:
    descriptor = MemoryDescriptor(allocation_size=4096, size=4096, handle_type=HandleType.OPAQUE_FD)

    def take(fd: int) -> None:
        (handle,) = arrivals.adopt([fd], [HandleType.OPAQUE_FD])
        with handle:
            arrivals.check_memory(handle, descriptor)

    take(memfd(4096))
    with pytest.raises(ProtocolError):
        take(make())


def test_a_process_of_another_user_is_turned_away() -> None:
    channel, theirs = pair()
    with theirs:
        assert channel.peer.pid == os.getpid()
        stranger = interop.ipc.Peer(1, os.geteuid() + 1, 0)
        with pytest.raises(PeerError, match="allowed_uids"):
            check_peer(stranger, ())
        check_peer(stranger, (stranger.uid,))
        channel.close()


@pytest.mark.usefixtures("nothing_left_behind")
def test_a_server_outlives_every_hostile_consumer(tmp_path: Path) -> None:
    path = str(tmp_path / "socket")

    def attack(data: bytes, count: int) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as sock:
            sock.connect(path)
            with open("/dev/zero", "rb") as zero:  # noqa: PTH123 - as above
                welcome = sock.recv(100)
                session = welcome[-16:]
                send(sock, data.replace(SESSION, session), [zero.fileno()] * count)
                sock.recv(4096)

    bodies = [b"", b"[]", b"{}", b"[" * 20_000, json.dumps({"devices": [], "chosen": False}).encode()]
    hellos = [(wire.encode(Message(Kind.HELLO, SESSION, 0, body)), 0) for body in bodies]
    with interop.ipc.serve(path, timeout=TIMEOUT) as server:
        for data, count in [*hellos, *((case[1], min(case[2], 2)) for case in BROKEN if len(case[1]) < 1000)]:
            thread = threading.Thread(target=attack, args=(data, count))
            thread.start()
            with pytest.raises(PeerError):
                server.accept()
            thread.join()
        with pytest.raises(WaitTimeout):
            server.accept(0.05)


@given(st.binary(max_size=200), st.integers(0, 3))
def test_the_decoder_survives_any_bytes(data: bytes, fds: int) -> None:
    try:
        message = wire.decode(data, fds)
    except ProtocolError:
        return
    assert wire.encode(message) == data


@given(st.integers(1, 7), st.integers(0, 2**64 - 1), st.binary(max_size=300), st.integers(0, 2))
def test_messages_survive_the_way(kind: int, sequence: int, body: bytes, fds: int) -> None:
    message = Message(Kind(kind), SESSION, sequence, body, fds)
    assert wire.decode(wire.encode(message), fds) == message
    for cut in range(0, wire.HEADER_SIZE + len(body), 7):
        with pytest.raises(ProtocolError):
            wire.decode(wire.encode(message)[:cut], fds)


@given(st.binary(max_size=64))
def test_a_turn_is_whole_or_refused(body: bytes) -> None:
    try:
        turn = wire.decode_turn(body)
    except ProtocolError:
        return
    assert wire.encode_turn(turn) == body


def test_a_turn_that_names_a_buffer_twice_is_refused() -> None:
    assert wire.decode_turn(wire.encode_turn(TurnBody(1, 2, (3, 4)))) == TurnBody(1, 2, (3, 4))
    with pytest.raises(ProtocolError, match="twice"):
        wire.decode_turn(struct.pack("<QQHHH", 1, 2, 2, 3, 3))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
_OFFER = {
    "number": 0,
    "name": "a",
    "shape": [4],
    "dtype": "uint32",
    "allocation_size": 16,
    "size": 16,
    "offset": 0,
    "dedicated": False,
    "allocation": None,
    "device": messages.identity_fields(interop.DeviceIdentity()),
}


@given(st.sampled_from(sorted(_OFFER)), _JSON)
def test_an_offer_with_any_part_replaced_is_read_or_refused(name: str, value: object) -> None:
    body = json.dumps({**_OFFER, name: value}).encode()
    try:
        offer = messages.read_offer(wire.Fields.decode(body, "offer"), HandleType.OPAQUE_FD)
    except ProtocolError:
        return
    assert offer.nbytes <= offer.descriptor.size <= offer.descriptor.allocation_size


@given(_JSON)
def test_any_json_is_a_hello_or_refused(value: object) -> None:
    body = json.dumps({"devices": [value], "chosen": False}).encode()
    with pytest.raises(ProtocolError):
        messages.read_hello(wire.Fields.decode(body, "hello"))


def test_an_allocation_keeps_its_name_on_the_way() -> None:
    named = MemoryDescriptor(
        allocation_size=64, size=16, offset=32, handle_type=HandleType.OPAQUE_FD, allocation=b"\x01" * 16
    )
    for descriptor in (named, replace(named, allocation=None)):
        offer = messages.Offer(
            number=0,
            name="a",
            shape=(4,),
            dtype=DTYPES["uint32"],
            nbytes=16,
            descriptor=descriptor,
        )
        body = wire.encode_fields(messages.offer_fields(offer, descriptor))
        assert messages.read_offer(wire.Fields.decode(body, "offer"), HandleType.OPAQUE_FD) == offer


@pytest.mark.parametrize("name", ["", "ab" * 65, "xyz", 7, [1]])
def test_a_name_of_an_allocation_that_cannot_be_is_refused(name: object) -> None:
    body = json.dumps({**_OFFER, "allocation": name}).encode()
    with pytest.raises(ProtocolError):
        messages.read_offer(wire.Fields.decode(body, "offer"), HandleType.OPAQUE_FD)


class Exporter(doubles.Producer):
    """The double of a producer, with handles that can travel: memfds, found again by their inode."""

    things: ClassVar[dict[int, object]] = {}

    def create_buffer(self, size: int, *, export: object = None, host_visible: bool = False) -> Any:
        buffer = super().create_buffer(size, export=export, host_visible=host_visible)
        described = replace(buffer.descriptor, device=self.device.identity)
        return self._travelling(buffer, "export_memory", described)

    def create_semaphore(self, kind: SemaphoreKind, *, export: object = None) -> Any:
        semaphore = super().create_semaphore(kind, export=export)
        return self._travelling(semaphore, "export_semaphore", semaphore.export_semaphore()[1])

    def _travelling(self, thing: Any, name: str, described: object) -> Any:
        fd = memfd(4096)
        self.things[os.fstat(fd).st_ino] = thing
        handle = Handle(fd, HandleType.OPAQUE_FD)
        setattr(thing, name, lambda: (handle, described))
        return thing


class Importer(doubles.Consumer):
    """The double of a consumer that knows those handles."""

    def import_memory(self, handle: Any, descriptor: MemoryDescriptor) -> Any:
        return super().import_memory(self._known(handle), descriptor)

    def import_semaphore(self, handle: Any, descriptor: Any) -> Any:
        return super().import_semaphore(self._known(handle), descriptor)

    def _known(self, handle: Handle) -> doubles.FakeHandle:
        with handle:
            return doubles.FakeHandle(Exporter.things[os.fstat(handle.value).st_ino])


def connected(world: doubles.World) -> tuple[Any, Any]:
    producer: Any = Exporter(world, doubles.producer_info())
    consumer: Any = Importer(world, doubles.consumer_info())
    return producer, consumer


@pytest.mark.usefixtures("nothing_left_behind")
def test_timelines_count_the_same_on_both_sides(tmp_path: Path) -> None:
    world = doubles.World()
    path = str(tmp_path / "socket")
    producer, consumer = connected(world)
    plans: list[str] = []

    def consume() -> None:
        with interop.ipc.join(path, consumer, timeout=TIMEOUT) as remote:
            words = remote.buffer("words")
            for _ in range(20):
                with remote.consumer_turn(words):
                    pass
            plans.append(remote.explain())

    with interop.ipc.serve(path, producer, timeout=TIMEOUT) as server:
        thread = threading.Thread(target=consume)
        thread.start()
        with server.accept() as shared:
            words = shared.buffer(1024, "uint32", name="words")
            for frame in range(20):
                with shared.producer_turn(words) as commands:
                    commands.fill(words.producer_buffer, frame)
            with pytest.raises(
                PeerLost
            ):  # the consumer has had its last turn, and may be gone before this one
                for _ in range(2):
                    with shared.producer_turn(words):
                        pass
            plans.append(shared.explain())
        thread.join()
    assert len(plans) == 2
    for plan in plans:
        assert "to consumer  native (timeline, opaque_fd)" in plan
        assert "to producer  native (timeline, opaque_fd)" in plan


@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.parametrize("orderly", [True, False])
def test_a_goodbye_in_the_last_turn_is_no_error(tmp_path: Path, orderly: bool) -> None:
    path = str(tmp_path / "socket")
    producer, consumer = connected(doubles.World())
    entered, gone = threading.Event(), threading.Event()
    seen: list[PeerLost | None] = []

    def turn(remote: interop.ipc.ConsumerSession, words: interop.ipc.RemoteBuffer) -> None:
        try:
            with remote.consumer_turn(words):
                entered.set()
                assert gone.wait(TIMEOUT)
        except PeerLost as lost:
            seen.append(lost)
        else:
            seen.append(None)

    def consume() -> None:
        with interop.ipc.join(path, consumer, timeout=TIMEOUT) as remote:
            words = remote.buffer("words")
            turn(remote, words)
            turn(remote, words)

    with interop.ipc.serve(path, producer, timeout=TIMEOUT) as server:
        thread = threading.Thread(target=consume)
        thread.start()
        with server.accept() as shared:
            words = shared.buffer(16, "uint32", name="words")
            with shared.producer_turn(words) as commands:
                commands.fill(words.producer_buffer, 1)
            assert entered.wait(TIMEOUT)
            if not orderly:
                shared._channel.close()
        gone.set()
        thread.join()
    left, entered_again = seen
    assert (left is None) == orderly
    assert entered_again is not None
    assert entered_again.orderly == orderly
