"""Checks of consumers: imports, views and kernel _launches."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from interop.links.checking import _streams as streams
from interop.links.checking._model import MODEL
from interop.links.checking._records import close_side, memories, queues, scope_of
from interop.links.checking._state import ENTERING, Memory, Queue, Scope
from interop.links.checking._watch import Records, watch
from interop.protocols import PreparedCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links.checking._watch import Call
    from interop.protocols import Consumer

_launches: Records[tuple[list[Memory], Queue | None]] = Records()
"""Of prepared launches: the memories that they use, and their queue."""


def watch_consumer(consumer: Consumer, scope: Scope) -> None:
    """Watch a consumer and the objects that it creates. Idempotent."""
    if queues.get(consumer) is None:
        own, name = Scope(scope.name, made=scope.made), f"the stream of {consumer.device.backend}"
        queues.put(consumer, streams.watch_stream(consumer.stream, own, name))
        watch(consumer, _ConsumerChecks)


class _ConsumerChecks:
    close = close_side

    def create_stream(self, original: Call) -> Any:
        stream, scope = original(), scope_of(self)
        streams.watch_stream(stream, scope, scope.label("stream"))
        return stream

    def import_memory(self, original: Call, handle: object, descriptor: object) -> Any:
        found = memories.get(handle)
        memory = original(handle, descriptor)
        if found is None or found.imported:  # each import is acquired and released by itself
            scope = scope_of(self)
            found = Memory(scope.label("memory"), scope)
        found.imported = True
        memories.put(memory, found)
        queues.put(memory, queues[self])
        return watch(memory, _MemoryChecks)

    def import_semaphore(self, original: Call, handle: object, descriptor: object) -> Any:
        return streams.import_semaphore(scope_of(self), original, handle, descriptor)

    def create_semaphore(self, original: Call, kind: object, **options: object) -> Any:
        semaphore = original(kind, **options)
        streams.watch_semaphore(semaphore, scope_of(self), streams.ExternalChecks, one_shot=True)
        return semaphore

    def allocate(self, original: Call, size: int, **options: object) -> Any:
        scope = scope_of(self)
        view = original(size, **options)
        memories.put(view, Memory(scope.label("memory"), scope))
        queues.put(view, queues[self])
        return watch(view, _ViewChecks)

    def compile(self, original: Call, source: object) -> Any:
        return watch(original(source), _ModuleChecks)


def _change(memory: object, original: Call, stream: object, *, acquire: bool) -> None:
    """Acquire or release a memory."""
    found = memories[memory]
    if found.acquired is acquire:
        does, state = (
            ("acquired", "has acquired it already") if acquire else ("released", "has not acquired it")
        )
        found.refuse(
            f"{does} by the consumer, which {state}",
            "acquire and release alternately",
            f"{'release' if acquire else 'acquire'} it first, or leave both to link.consumer_turn",
        )
    original(stream)
    found.acquired = acquire
    if not acquire:
        MODEL.use(queues.get(stream), [found])


def _prepare_change(memory: object, original: Call, stream: object, *, acquire: bool) -> PreparedCall:
    """Return a call that is checked each time; where the API has no ownership, the checks alone."""
    prepared: PreparedCall = original(stream) or PreparedCall(int, int)

    def change(make: Callable[[], None]) -> None:
        _change(memory, lambda _: make(), stream, acquire=acquire)

    return streams.checked_call(prepared, change)


def _view(whole: object, original: Call, *args: object, **kwargs: object) -> Any:
    view = original(*args, **kwargs)
    memories.put(view, memories[whole])
    queues.put(view, queues[whole])
    return watch(view, _ViewChecks)


def _copy(view: object, original: Call, host: object, **options: object) -> None:
    check_use(memories[view], queues[view], "read or written")
    with streams.explained():
        original(host, **options)
    MODEL.drained(queues[view])


class _MemoryChecks:
    map_buffer = _view
    acquire = partial(_change, acquire=True)
    release = partial(_change, acquire=False)
    prepare_acquire = partial(_prepare_change, acquire=True)
    prepare_release = partial(_prepare_change, acquire=False)

    def close(self, original: Call) -> None:
        MODEL.check_ended(memories[self])
        original()


class _ViewChecks:
    view = _view
    read = _copy
    write = _copy


def check_use(memory: Memory, queue: Queue | None, what: str) -> None:
    """Raise :class:`Misuse` when the consumer may not use a memory now."""
    memory.check_open(what)
    if memory.buffer is not None:
        if memory.turn not in {"consumer", ENTERING}:
            now = f"in the {memory.turn}'s turn" if memory.turn else "outside a turn"
            memory.refuse(
                f"{what} by the consumer {now}",
                "use inside `with link.consumer_turn(buffer) as view`",
                "move the use into the consumer's turn",
            )
    elif memory.imported and not memory.acquired:
        memory.refuse(
            f"{what} by the consumer, which has not acquired it",
            "memory.acquire(stream) before, memory.release(stream) after",
            "acquire it first; with a ring, use it inside batch.consumer()",
        )
    if queue is not None:
        MODEL.check_order(queue, memory, what)


class _ModuleChecks:
    def kernel(self, original: Call, name: str) -> Any:
        return watch(original(name), _KernelChecks)


def _used_by(args: tuple[object, ...], stream: object = None) -> tuple[list[Memory], Queue | None]:
    found = [memory for memory in map(memories.get, args) if memory is not None]
    known = (queue for queue in map(queues.get, (stream, *args)) if queue is not None)
    return found, next(known, None)


def _launch(uses: tuple[list[Memory], Queue | None], launch: Callable[[], object]) -> None:
    used, queue = uses
    for memory in used:
        check_use(memory, queue, "used by a kernel")
    launch()
    MODEL.use(queue, used)


class _KernelChecks:
    def __call__(self, original: Call, *args: object, **options: Any) -> None:
        _launch(_used_by(args, options.get("stream")), lambda: original(*args, **options))

    def prepare(self, original: Call, *args: object, **options: Any) -> Any:
        launch = original(*args, **options)
        _launches.put(launch, _used_by(args, options.get("stream")))
        return watch(launch, _LaunchChecks)


class _LaunchChecks:
    """The memories of a prepared launch are checked each time it is enqueued."""

    def __call__(self, original: Call) -> None:
        _launch(_launches[self], original)

    def prepare_call(self, original: Call) -> PreparedCall:
        return streams.checked_call(original(), partial(_launch, _launches[self]))
