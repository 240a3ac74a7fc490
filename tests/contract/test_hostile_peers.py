"""A peer that misbehaves again and again costs the other side nothing: no descriptor, no thread, no memory."""

from __future__ import annotations

import array
import os
import socket
import sys
from contextlib import closing
from typing import TYPE_CHECKING

import hostile
import pytest
import soak

from interop import HandleType
from interop.ipc import ProtocolError
from interop.ipc import _arrivals as arrivals
from interop.ipc import _wire as wire
from interop.ipc._wire import Kind
from interop.ipc.channel import Channel
from interop.protocols import MemoryDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.testing import leaks

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="handles travel over Linux sockets")

ROUNDS = 400
GROWTH_KIB = 4096
"""The noise of a process that has run other tests; messages of the largest size, if kept, would be far more."""
"""Of the resident memory, over nine tenths of the rounds. One page lost in each is 1,440."""
MEMORY = MemoryDescriptor(allocation_size=4096, size=4096, handle_type=HandleType.OPAQUE_FD)
OFFER = hostile.datagram(Kind.BUFFER, hostile.BODIES[Kind.BUFFER], 1)


def memfd(size: int) -> int:
    number = os.memfd_create("memory")
    os.truncate(number, size)
    return number


def pipe() -> int:
    ours, theirs = os.pipe()
    os.close(theirs)
    return ours


FILES: dict[str, Callable[[], int]] = {
    "zero": lambda: os.open("/dev/zero", os.O_RDWR),
    "socket": lambda: socket.socket(socket.AF_UNIX).detach(),
    "pipe": pipe,
    "folder": lambda: os.open("/", os.O_RDONLY),
    "a file on disk": lambda: os.open(__file__, os.O_RDONLY),
    "a smaller memfd": lambda: memfd(4095),
    "an empty memfd": lambda: memfd(0),
}
MESSAGES: dict[str, tuple[list[bytes], int]] = {
    "truncated": ([OFFER[:-1]], 1),
    "less than a header": ([OFFER[:9]], 1),
    "oversized": ([OFFER + bytes(wire.MAX_MESSAGE)], 1),
    "of the wrong kind": ([OFFER[:5] + b"\xee" + OFFER[6:]], 1),
    "without its descriptor": ([OFFER], 0),
    "with a descriptor too many": ([OFFER], 2),
    "with more descriptors than any message has": ([OFFER], 100),
    "replayed": ([OFFER, OFFER], 1),
}


def refused(datagrams: list[bytes], files: list[int]) -> None:
    """Send datagrams, each with the files, to a channel; the last one ends the session."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    channel = Channel(ours, 2.0)
    channel.session = hostile.SESSION
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", files))] if files else []
    with theirs, closing(channel):
        for data in datagrams[:-1]:
            theirs.sendmsg([data], rights)
            with channel.receive("to speak"):
                pass
        theirs.sendmsg([datagrams[-1]], rights)
        with pytest.raises(ProtocolError):
            channel.receive("to speak")


def costs_nothing(attack: Callable[[], None]) -> None:
    early = 0
    for number in range(ROUNDS):
        attack()
        if number == ROUNDS // 10:
            early = soak.resident_kib()
    assert soak.resident_kib() - early < GROWTH_KIB


@pytest.mark.parametrize("case", MESSAGES)
def test_messages(nothing_left_behind: leaks.Resources, case: str) -> None:
    datagrams, count = MESSAGES[case]
    with open("/dev/zero", "rb") as zero:  # noqa: PTH123 - a descriptor is what is needed
        files = [zero.fileno()] * count
        costs_nothing(lambda: refused(datagrams, files))


@pytest.mark.parametrize("case", FILES)
def test_files(nothing_left_behind: leaks.Resources, case: str) -> None:
    def attack() -> None:
        with pytest.raises(ProtocolError):
            take(FILES[case]())

    take(memfd(4096))
    costs_nothing(attack)


def take(number: int) -> None:
    (handle,) = arrivals.adopt([number], [HandleType.OPAQUE_FD])
    with handle:
        arrivals.check_memory(handle, MEMORY)
