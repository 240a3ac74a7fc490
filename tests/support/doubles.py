"""In-memory doubles of a producer and a consumer that obey the rules of semaphores and report every breach.

They exist to test the core's ordering without a driver. Work "runs" when :meth:`World.settle` is called: each
side is a queue of operations, and a wait that can never pass is an error, as is a binary semaphore that is
signalled twice or waited on twice.
"""

from __future__ import annotations

import itertools
import math
import random
import threading
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Self

from interop.links import Link
from interop.negotiation import negotiate
from interop.protocols import (
    DTYPES,
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    DriverError,
    DType,
    HandleType,
    MatchKey,
    MemoryDescriptor,
    PreparedCall,
    SemaphoreDescriptor,
    SemaphoreKind,
    WaitTimeout,
)
from interop.toolkit import StandardCommandList

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

UUID = bytes(range(16))
BOTH = (SemaphoreKind.BINARY, SemaphoreKind.TIMELINE)
FD = frozenset({HandleType.OPAQUE_FD})
ONE_SHOT = {SemaphoreKind.BINARY: frozenset({HandleType.SYNC_FD})}


def one_shot_infos(*, out: bool = True, back: bool = True) -> tuple[DeviceInfo, DeviceInfo]:
    """Describe a pair whose semaphores travel as sync files alone, to the consumer, back, or both."""
    left, right = producer_info(()), consumer_info(())
    one = replace(
        left.capabilities, semaphore_export=ONE_SHOT if out else {}, semaphore_import=ONE_SHOT if back else {}
    )
    other = replace(
        right.capabilities,
        semaphore_import=ONE_SHOT if out else {},
        semaphore_export=ONE_SHOT if back else {},
    )
    return replace(left, capabilities=one), replace(right, capabilities=other)


def producer_info(kinds: Sequence[SemaphoreKind] = BOTH, **changes: object) -> DeviceInfo:
    """Describe a producer that exports memory, and semaphores of the kinds given, as opaque fds."""
    return DeviceInfo(
        backend="vulkan",
        index=0,
        name="double",
        identity=DeviceIdentity(uuid=UUID),
        capabilities=Capabilities(
            memory_export=FD, semaphore_export=dict.fromkeys(kinds, FD), host_timeline=True
        ),
        **changes,  # type: ignore[arg-type]
    )


def consumer_info(kinds: Sequence[SemaphoreKind] = BOTH, **changes: object) -> DeviceInfo:
    """Describe a consumer that imports the same."""
    return DeviceInfo(
        backend="double",
        index=0,
        name="double",
        identity=DeviceIdentity(uuid=UUID),
        capabilities=Capabilities(
            memory_import=FD,
            semaphore_import=dict.fromkeys(kinds, FD),
            stream_hold="hold",
            stream_notify="notify",
        ),
        **changes,  # type: ignore[arg-type]
    )


def _pair(*kinds: SemaphoreKind) -> tuple[DeviceInfo, DeviceInfo]:
    return producer_info(kinds), consumer_info(kinds)


PAIRS = {
    "native timeline": ("native", _pair(*BOTH)),
    "native binary": ("native", _pair(SemaphoreKind.BINARY)),
    "one-shot": ("native", one_shot_infos()),
    "one-shot, bridged back": ("auto", one_shot_infos(back=False)),
    "bridged, one-shot back": ("auto", one_shot_infos(out=False)),
    "bridged": ("bridged", _pair()),
    "blocking": ("blocking", _pair()),
}
"""By name: the strategy to ask for, and two devices that have it."""


@dataclass
class Payload:
    """The state behind a semaphore, shared by both sides."""

    kind: SemaphoreKind
    value: int = 0

    def ready(self, value: int) -> bool:
        return self.value >= (1 if self.kind is SemaphoreKind.BINARY else value)

    def take(self) -> None:
        if self.kind is SemaphoreKind.BINARY:
            self.value = 0

    def signal(self, value: int) -> None:
        if self.kind is SemaphoreKind.BINARY:
            assert self.value == 0, "binary semaphore signalled twice"
            self.value = 1
        else:
            assert value > self.value, f"timeline goes from {self.value} to {value}"
            self.value = value


@dataclass
class Step:
    """One operation of a queue: what it is called, when it can run, what it does, what it waits for."""

    name: str
    ready: Callable[[], bool]
    run: Callable[[], None]
    waits_for: Payload | None = None


@dataclass
class World:
    """Both sides' queues and what ran, in order."""

    producer_queue: list[Step] = field(default_factory=list)
    consumer_queue: list[Step] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    open_objects: int = 0
    timeouts: set[float] = field(default_factory=set[float])
    """The timeouts with which views and submissions were created."""
    lagging: int | None = None
    """Which queue (0 producer, 1 consumer) runs only when the other cannot; None: any order."""
    lock: threading.RLock = field(default_factory=threading.RLock)
    random: random.Random = field(default_factory=lambda: random.Random(0))  # noqa: S311 - for schedules

    def drained(self, queue: list[Step], timeout: float) -> bool:
        """Run until ``queue`` is empty; threads of the core may have to help, so look again for a while."""
        deadline = time.monotonic() + timeout
        while self.settle() or queue:
            if time.monotonic() > deadline:
                return False
            time.sleep(0.0005)
        return True

    def settle(self) -> bool:
        """Run both queues until neither can go on; False, so that it reads well in a loop's condition."""
        with self.lock:
            self._settle()
        return False

    def _settle(self) -> None:
        queues = [self.producer_queue, self.consumer_queue]
        while True:
            fronts = [queue[0] for queue in queues if queue]
            blocked = [step.waits_for for step in fronts if step.waits_for and not step.ready()]
            assert (
                len(blocked) < 2
                or blocked[0] is not blocked[1]
                or blocked[0].kind is not SemaphoreKind.BINARY
            ), "both queues wait for one binary semaphore"
            movable = [queue for queue in queues if queue and queue[0].ready()]
            if not movable:
                return
            lagging = self.lagging
            eager = [queue for queue in movable if lagging is None or queue is not queues[lagging]]
            step = self.random.choice(eager or movable).pop(0)
            step.run()
            self.log.append(step.name)


def _always() -> bool:
    return True


def _nothing() -> None:
    return None


class Semaphore:
    """A producer's semaphore."""

    def __init__(self, world: World, kind: SemaphoreKind) -> None:
        self.world, self.kind, self.payload, self.native = world, kind, Payload(kind), None
        world.open_objects += 1
        self._open = True

    def export_semaphore(self) -> tuple[object, SemaphoreDescriptor]:
        return FakeHandle(self), SemaphoreDescriptor(kind=self.kind, handle_type=HandleType.OPAQUE_FD)

    def signalling(self) -> Payload:
        """What the next submission signals."""
        return self.payload

    def waiting(self) -> Payload:
        """What the next submission waits for."""
        return self.payload

    def wait_host(self, value: int, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while True:
            self.world.settle()
            if self.payload.ready(value) or time.monotonic() > deadline:
                return self.payload.ready(value)
            time.sleep(0.0005)  # threads of the core may have to help

    def signal_host(self, value: int) -> None:
        self.payload.signal(value)

    def counter(self) -> int:
        return self.payload.value

    def close(self) -> None:
        self.world.open_objects -= self._open
        self._open = False


class FakeHandle:
    """Carries an object instead of an fd."""

    def __init__(self, thing: object) -> None:
        self.thing = thing

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return None


class OneShot(Semaphore):
    """A semaphore of either side whose signals are handed out, or taken in, one at a time."""

    next: Payload | None = None

    def signalling(self) -> Payload:
        assert self.next is None, "signalled again before the last signal was handed out"
        self.next = Payload(self.kind)
        return self.next

    def signal(self, stream: FakeStream, value: int | None = None) -> None:
        assert value is None
        payload = self.signalling()
        stream.push("consumer signals", _always, lambda: payload.signal(1))

    def waiting(self) -> Payload:
        assert self.next is not None, "waited for nothing that was taken in"
        payload, self.next = self.next, None
        return payload

    def export_semaphore(self) -> tuple[object, SemaphoreDescriptor]:
        assert self.next is not None, "nothing to hand out"
        payload, self.next = self.next, None
        return SyncFile(self.world, payload), SemaphoreDescriptor(
            kind=self.kind, handle_type=HandleType.SYNC_FD
        )

    def import_semaphore(self, handle: SyncFile, descriptor: SemaphoreDescriptor) -> None:
        assert descriptor.handle_type is HandleType.SYNC_FD
        assert self.next is None, "taken in before a submission waited for the last one"
        self.next = handle.payload
        handle.close()


class SyncFile:
    """Carries one signal; counted, since it stands for a descriptor."""

    def __init__(self, world: World, payload: Payload) -> None:
        self.world, self.payload, self.kind = world, payload, payload.kind
        world.open_objects += 1
        self._open = True

    def close(self) -> None:
        self.world.open_objects -= self._open
        self._open = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class External:
    """An imported semaphore."""

    def __init__(self, semaphore: Semaphore | SyncFile) -> None:
        self.kind, self._payload = semaphore.kind, semaphore.payload
        semaphore.world.open_objects += 1
        self._world, self._open = semaphore.world, True

    def wait(self, stream: FakeStream, value: int | None = None) -> None:
        self._wait(stream, value)

    def _wait(self, stream: FakeStream, value: int | None = None) -> None:
        assert (value is None) == (self.kind is SemaphoreKind.BINARY)
        payload = self._payload
        stream.push("consumer waits", lambda: payload.ready(value or 0), payload.take, payload)

    def signal(self, stream: FakeStream, value: int | None = None) -> None:
        assert (value is None) == (self.kind is SemaphoreKind.BINARY)
        stream.push("consumer signals", _always, lambda: self._payload.signal(value or 0))

    def prepare_wait(self, stream: FakeStream) -> PreparedCall:
        return self._prepared(partial(self._wait, stream))

    def prepare_signal(self, stream: FakeStream) -> PreparedCall:
        def signal(value: int | None = None) -> None:
            now = stream.flushes  # until then the device does not get it
            payload = self._payload
            stream.push("consumer signals", lambda: stream.flushes > now, lambda: payload.signal(value or 0))

        return self._prepared(signal)

    def _prepared(self, enqueue: Callable[..., None]) -> PreparedCall:
        if self.kind is SemaphoreKind.BINARY:
            return prepared_call(enqueue)
        told: list[int] = []
        return prepared_call(lambda: enqueue(told.pop()))._replace(value=told.append)

    def close(self) -> None:
        self._world.open_objects -= self._open
        self._open = False


def prepared_call(enqueue: Callable[[], object]) -> PreparedCall:
    """Return a call that succeeds."""

    def call() -> int:
        enqueue()
        return 0

    def fail(status: int) -> None:
        raise DriverError("a prepared call", status)

    return PreparedCall(call, fail)


class FakeStream:
    """A consumer's stream."""

    native = None

    def __init__(self, world: World) -> None:
        self.world, self.released, self.flushes = world, 0, 0

    def push(
        self,
        name: str,
        ready: Callable[[], bool],
        run: Callable[[], None] = _nothing,
        waits_for: Payload | None = None,
    ) -> None:
        self.world.consumer_queue.append(Step(name, ready, run, waits_for))

    def flush(self) -> None:
        self.flushes += 1

    def command_list(self) -> StandardCommandList:
        return StandardCommandList(self)

    def synchronize(self, timeout: float) -> None:
        if not self.world.drained(self.world.consumer_queue, timeout):
            raise WaitTimeout("the consumer's stream", timeout)

    def hold(self, value: int) -> None:
        self.push("consumer held", lambda: self.released >= value)

    def release(self, value: int, *, failed: bool = False) -> None:
        del failed
        self.released = max(self.released, value)

    def notify(self, callback: Callable[[int], None], value: int, *, failed: object = None) -> None:
        del failed
        self.push("consumer notifies", _always, lambda: callback(value))

    def close(self) -> None:
        return None


class View:
    """A mapped buffer."""

    native = None

    def __init__(self, shape: tuple[int, ...], dtype: DType, data: bytearray | memoryview) -> None:
        self.shape, self.dtype, self.data, self.nbytes = shape, dtype, data, len(data)

    def view(self, shape: tuple[int, ...], dtype: DType, *, offset: int = 0) -> View:
        size = math.prod(shape) * dtype.itemsize
        assert offset + size <= self.nbytes
        return View(shape, dtype, memoryview(self.data)[offset : offset + size])

    def read(self, target: memoryview, *, timeout: float | None = None) -> None:
        del timeout
        target[:] = self.data

    def write(self, source: memoryview, *, timeout: float | None = None) -> None:
        del timeout
        self.data[:] = source

    def close(self) -> None:
        return None


class Memory:
    """An imported allocation; checks that acquire and release alternate."""

    def __init__(self, buffer: FakeBuffer) -> None:
        self.buffer, self.acquired = buffer, False
        self.descriptor = buffer.descriptor
        self._world, self._open = buffer.world, True
        buffer.world.open_objects += 1

    def map_buffer(self, *, size: int, shape: tuple[int, ...], dtype: DType, timeout: float = 10.0) -> View:
        self._world.timeouts.add(timeout)
        assert size == len(self.buffer.data)
        return View(shape, dtype, self.buffer.data)

    def acquire(self, stream: FakeStream) -> None:
        self._acquire(stream)

    def release(self, stream: FakeStream) -> None:
        self._release(stream)

    def _acquire(self, stream: FakeStream) -> None:
        assert not self.acquired, "acquired twice"
        self.acquired = True
        stream.push("consumer acquires", _always)

    def _release(self, stream: FakeStream) -> None:
        assert self.acquired, "released without acquire"
        self.acquired = False
        stream.push("consumer releases", _always)

    def prepare_acquire(self, stream: FakeStream) -> PreparedCall:
        return prepared_call(partial(self._acquire, stream))

    def prepare_release(self, stream: FakeStream) -> PreparedCall:
        return prepared_call(partial(self._release, stream))

    def close(self) -> None:
        self._world.open_objects -= self._open
        self._open = False


class Consumer:
    """An opened consumer."""

    def __init__(self, world: World, device: DeviceInfo) -> None:
        self.world, self.device, self.stream = world, device, FakeStream(world)
        self.fail_import = False

    def import_memory(self, handle: FakeHandle, descriptor: MemoryDescriptor) -> Memory:
        del descriptor
        if self.fail_import:
            raise MemoryError
        assert isinstance(handle.thing, FakeBuffer)
        return Memory(handle.thing)

    def import_semaphore(self, handle: FakeHandle | SyncFile, descriptor: SemaphoreDescriptor) -> External:
        if self.fail_import:
            raise MemoryError
        if isinstance(handle, SyncFile):
            assert descriptor.handle_type is HandleType.SYNC_FD
            handle.close()
            return External(handle)
        assert isinstance(handle.thing, Semaphore)
        return External(handle.thing)

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> OneShot:
        assert export is HandleType.SYNC_FD
        return OneShot(self.world, kind)

    def allocate(self, size: int, *, timeout: float = 10.0) -> View:
        self.world.timeouts.add(timeout)
        return View((size,), DTYPES["uint8"], bytearray(size))

    def close(self) -> None:
        return None


class FakePart:
    """A range of a producer's buffer."""

    native = None

    def __init__(self, data: memoryview, offset: int) -> None:
        self.data, self.offset, self.size = data, offset, len(data)
        self.external = False


class FakeBuffer:
    """A producer's buffer; checks that ownership leaves and comes back in turn."""

    native = None

    def __init__(self, world: World, size: int) -> None:
        self.world, self.size, self.data = world, size, bytearray(size)
        self.allocation_size = size
        self.descriptor = MemoryDescriptor(allocation_size=size, size=size, handle_type=HandleType.OPAQUE_FD)
        self.external = False
        world.open_objects += 1
        self._open = True

    def export_memory(self) -> tuple[FakeHandle, MemoryDescriptor]:
        return FakeHandle(self), self.descriptor

    def part(self, offset: int, size: int) -> FakePart:
        assert offset + size <= self.size
        return FakePart(memoryview(self.data)[offset : offset + size], offset)

    def host_view(self) -> memoryview:
        return memoryview(self.data)

    def close(self) -> None:
        self.world.open_objects -= self._open
        self._open = False


class FakeCommands:
    """Records actions."""

    native = None

    def __init__(self) -> None:
        self.actions: list[tuple[str, Callable[[], None]]] = []

    def fill(self, buffer: object, word: int) -> None:
        pattern = word.to_bytes(4, "little")
        data: bytearray = getattr(buffer, "producer_buffer", buffer).data  # type: ignore[attr-defined]
        self.actions.append(("fill", lambda: data.__setitem__(slice(None), pattern * (len(data) // 4))))

    def copy(self, source: FakeBuffer, target: FakeBuffer) -> None:
        self.actions.append(("copy", lambda: target.data.__setitem__(slice(None), source.data)))


class FakeSubmission:
    """One prepared submission."""

    def __init__(
        self,
        producer: Producer,
        acquire: Sequence[FakeBuffer],
        release: Sequence[FakeBuffer],
        wait: Semaphore | None,
        signal: Semaphore | None,
    ) -> None:
        self._producer, self._acquire, self._release, self._wait, self._signal = (
            producer,
            acquire,
            release,
            wait,
            signal,
        )
        self._commands: FakeCommands | None = None
        self._repeat = False
        self._open = True
        producer.world.open_objects += 1

    def begin(self, *, repeat: bool = False) -> FakeCommands:
        assert self._commands is None, "recorded twice"
        self._repeat = repeat
        self._commands = FakeCommands()
        return self._commands

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> int:
        assert self._open, "submitted after close"
        wait, signal, progress = self._wait, self._signal, self._producer.progress
        if wait is not None:
            waited = wait.waiting()
            self._push("producer waits", waited.take, lambda: waited.ready(wait_value), waited)
        for buffer in self._acquire:
            self._push("producer acquires", partial(self._own, buffer, external=False))
        for name, action in self._commands.actions if self._commands else ():
            self._push(name, action)
        for buffer in self._release:
            self._push("producer releases", partial(self._own, buffer, external=True))
        if signal is not None:
            signalled = signal.signalling()
            self._push("producer signals", lambda: signalled.signal(signal_value))
        point = next(self._producer.points)
        self._push("producer done", lambda: progress.payload.signal(point))
        if not self._repeat:
            self._commands = None
        return point

    def _push(
        self,
        name: str,
        run: Callable[[], None],
        ready: Callable[[], bool] = _always,
        waits_for: Payload | None = None,
    ) -> None:
        self._producer.world.producer_queue.append(Step(name, ready, run, waits_for))

    @staticmethod
    def _own(buffer: FakeBuffer | FakePart, *, external: bool) -> None:
        assert not (external and buffer.external), "given away twice"
        buffer.external = external

    def abandon(self) -> None:
        self._commands = None

    def close(self) -> None:
        self._producer.world.open_objects -= self._open
        self._open = False


class Producer:
    """An opened producer."""

    def __init__(self, world: World, device: DeviceInfo) -> None:
        self.world, self.device = world, device
        self.progress = Semaphore(world, SemaphoreKind.TIMELINE)
        self.points = itertools.count(1)

    def create_buffer(self, size: int, *, export: object = None, host_visible: bool = False) -> FakeBuffer:
        del export, host_visible
        return FakeBuffer(self.world, size)

    def create_semaphore(self, kind: SemaphoreKind, *, export: object = None) -> Semaphore:
        return (OneShot if export is HandleType.SYNC_FD else Semaphore)(self.world, kind)

    def create_importing_semaphore(self, handle_type: HandleType) -> OneShot:
        assert handle_type is HandleType.SYNC_FD
        return OneShot(self.world, SemaphoreKind.BINARY)

    def prepare(
        self,
        *,
        acquire: Sequence[FakeBuffer] = (),
        release: Sequence[FakeBuffer] = (),
        wait: Semaphore | None = None,
        signal: Semaphore | None = None,
        timeout: float = 10.0,
    ) -> FakeSubmission:
        self.world.timeouts.add(timeout)
        return FakeSubmission(self, tuple(acquire), tuple(release), wait, signal)

    def wait_idle(self, timeout: float) -> None:
        if not self.world.drained(self.world.producer_queue, timeout):
            raise WaitTimeout("the producer's queue", timeout)

    def close(self) -> None:
        self.progress.close()


def make_link(case: str, require: str | None = None, timeout: float = 1.0) -> tuple[Link, World]:
    """Join two doubles; the caller closes the link."""
    sync, (left, right) = PAIRS[case]
    world = World()
    plan = negotiate(left, right, MatchKey.UUID, sync="auto" if require == "staged" else sync, path=require)
    return Link(plan, Producer(world, left), Consumer(world, right), timeout=timeout), world  # type: ignore[arg-type]
