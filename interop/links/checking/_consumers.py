"""Checks of consumers: imports, views and kernel launches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from interop.links.checking import _streams as streams
from interop.links.checking._model import MODEL
from interop.links.checking._records import (
    close_side,
    memories,
    payloads,
    points,
    queues,
    scope_of,
    watch_scope,
)
from interop.links.checking._state import ENTERING, Memory, Payload, Queue, Scope, closed
from interop.links.checking._watch import watch
from interop.protocols import Misuse, PreparedCall

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import Consumer, Launch, MappedBuffer

    Call = Callable[..., Any]
    Arounds = dict[str, Callable[..., Any]]


def watch_consumer(consumer: Consumer, scope: Scope) -> Queue:
    """Watch a consumer and the objects that it creates. Idempotent."""
    watch_scope(consumer, scope)
    found = queues.get(consumer)
    if found is None:
        name = f"the stream of {consumer.device.backend}"
        found = queues.put(consumer, streams.watch_stream(consumer.stream, scope, name))
        around: Arounds = {
            "create_stream": _create_stream,
            "import_memory": _import_memory,
            "import_semaphore": _import_semaphore,
            "create_semaphore": _create_semaphore,
            "allocate": _allocate,
            "compile": _compile,
            "close": _close,
        }
        watch(consumer, "consumer", around)
    return found


def _close(consumer: object, original: Call) -> None:
    MODEL.hush(1)
    try:
        original()
    finally:
        MODEL.hush(-1)
        close_side(consumer)
        queue = queues.get(consumer)
        if queue is not None:
            MODEL.forget(queue)


def _create_stream(consumer: object, original: Call) -> Any:
    stream = original()
    scope = scope_of(consumer)
    streams.watch_stream(stream, scope, scope.label("stream"))
    return stream


def _import_memory(consumer: object, original: Call, handle: object, descriptor: object) -> Any:
    found = memories.get(handle)
    memory = original(handle, descriptor)
    if found is None or found.imported:  # each import is acquired and released by itself
        scope = scope_of(consumer)
        found = Memory(scope.label("memory"), scope)
    found.imported = True
    memories.put(memory, found)
    queue = queues.get(consumer)
    if queue is not None:
        queues.put(memory, queue)
    around: Arounds = {
        "map_buffer": _view,
        "acquire": _acquire,
        "release": _release,
        "prepare_acquire": _prepare_acquire,
        "prepare_release": _prepare_release,
        "close": _close_memory,
    }
    return watch(memory, "memory", around)


def _import_semaphore(consumer: object, original: Call, handle: object, descriptor: Any) -> Any:
    found, point = payloads.get(handle), points.get(handle)
    semaphore = original(handle, descriptor)
    if found is None:
        scope = scope_of(consumer)
        found = Payload(scope.label("foreign semaphore"), scope, descriptor.kind, foreign=True)
    payloads.put(semaphore, found)
    if point is not None:
        points.put(semaphore, point)
    around: Arounds = {
        "wait": streams.wait,
        "signal": streams.signal,
        "prepare_wait": streams.prepare_wait,
        "prepare_signal": streams.prepare_signal,
        "close": streams.close_semaphore,
    }
    return watch(semaphore, "external", around)


def _create_semaphore(consumer: object, original: Call, kind: object, **options: object) -> Any:
    semaphore = original(kind, **options)
    streams.watch_signals(semaphore, scope_of(consumer))
    return semaphore


def _allocate(consumer: object, original: Call, size: int, **options: object) -> Any:
    scope = scope_of(consumer)
    view = original(size, **options)
    memories.put(view, Memory(scope.label("memory"), scope))
    queue = queues.get(consumer)
    if queue is not None:
        queues.put(view, queue)
    return _watch_view(view)


def _acquire(memory: object, original: Call, stream: object) -> None:
    found = memories.get(memory)
    if found is not None and found.acquired and not MODEL.quiet:
        raise Misuse(
            found.name,
            found.scope.name,
            "acquired by the consumer, which has acquired it already",
            "acquire and release alternately",
            "release it first, or leave both to link.consumer_turn",
        )
    original(stream)
    if found is not None:
        found.acquired = True


def _release(memory: object, original: Call, stream: object) -> None:
    found, queue = memories.get(memory), queues.get(stream)
    if found is not None and not found.acquired and not MODEL.quiet:
        raise Misuse(
            found.name,
            found.scope.name,
            "released by the consumer, which has not acquired it",
            "acquire and release alternately",
            "acquire it first, or leave both to link.consumer_turn",
        )
    original(stream)
    if found is not None:
        found.acquired = False
        if queue is not None:
            MODEL.use(queue, [found])


def _prepare_acquire(memory: object, original: Call, stream: object) -> PreparedCall:
    return _prepare_change(_acquire, memory, original(stream), stream)


def _prepare_release(memory: object, original: Call, stream: object) -> PreparedCall:
    return _prepare_change(_release, memory, original(stream), stream)


def _prepare_change(
    change: Callable[[object, Call, object], None],
    memory: object,
    prepared: PreparedCall | None,
    stream: object,
) -> PreparedCall:
    """Return a call that is checked each time; where the API has no ownership, the checks alone."""
    given = prepared or PreparedCall(int, _never_fails)
    make = streams.checked_call(given)
    return given._replace(call=streams.returning_zero(lambda: change(memory, lambda _: make(), stream)))


def _never_fails(status: int) -> None:
    """Raise nothing: the status is always 0."""


def _close_memory(memory: object, original: Call) -> None:
    found = memories.get(memory)
    if found is not None:
        MODEL.check_ended(found.name, found.scope, found.used)
    original()


def _watch_view(view: Any) -> MappedBuffer:
    watched: MappedBuffer = watch(view, "view", {"view": _view, "read": _copy, "write": _copy})
    return watched


def _view(whole: object, original: Call, *args: object, **kwargs: object) -> Any:
    view = original(*args, **kwargs)
    found, queue = memories.get(whole), queues.get(whole)
    if found is not None:
        memories.put(view, found)
    if queue is not None:
        queues.put(view, queue)
    return _watch_view(view)


def _copy(view: object, original: Call, host: object, **options: object) -> None:
    found, queue = memories.get(view), queues.get(view)
    if found is not None:
        check_use(found, queue, "read or written")
    with streams.explained():
        original(host, **options)
    if queue is not None:
        MODEL.drained(queue)


def check_use(memory: Memory, queue: Queue | None, what: str) -> None:
    """Raise :class:`Misuse` when the consumer may not use a memory now."""
    if MODEL.quiet:
        return
    if memory.scope.closed:
        raise closed(memory.name, memory.scope, what)
    if memory.buffer is not None:
        if memory.turn not in {"consumer", ENTERING}:
            now = f"in the {memory.turn}'s turn" if memory.turn else "outside a turn"
            raise Misuse(
                memory.name,
                memory.scope.name,
                f"{what} by the consumer {now}",
                "use inside `with link.consumer_turn(buffer) as view`",
                "move the use into the consumer's turn",
            )
    elif memory.imported and not memory.acquired:
        raise Misuse(
            memory.name,
            memory.scope.name,
            f"{what} by the consumer, which has not acquired it",
            "memory.acquire(stream) before, memory.release(stream) after",
            "acquire it first; with a ring, use it inside batch.consumer()",
        )
    if queue is not None:
        MODEL.check_order(queue, memory, what)


def _compile(_consumer: object, original: Call, source: object) -> Any:
    return watch(original(source), "module", {"kernel": _kernel})


def _kernel(_module: object, original: Call, name: str) -> Any:
    return watch(original(name), "kernel", {"__call__": _call, "prepare": _prepare})


def _used_by(args: tuple[object, ...], stream: object) -> tuple[list[Memory], Queue | None]:
    found = [memory for memory in map(memories.get, args) if memory is not None]
    queue = queues.get(stream) if stream is not None else None
    if queue is None:
        queue = next((each for each in map(queues.get, args) if each is not None), None)
    return found, queue


def _launch(used: list[Memory], queue: Queue | None, launch: Callable[[], None]) -> None:
    for memory in used:
        check_use(memory, queue, "used by a kernel")
    launch()
    if queue is not None:
        MODEL.use(queue, used)


def _call(_kernel: object, original: Call, *args: object, **options: Any) -> None:
    used, queue = _used_by(args, options.get("stream"))
    _launch(used, queue, lambda: original(*args, **options))


def _prepare(_kernel: object, original: Call, *args: object, **options: Any) -> Launch:
    used, queue = _used_by(args, options.get("stream"))
    return CheckedLaunch(original(*args, **options), used, queue)


class CheckedLaunch:
    """A prepared launch whose memories are checked each time it is enqueued."""

    def __init__(self, launch: Launch, used: list[Memory], queue: Queue | None) -> None:
        self._launch = launch
        self._used = used
        self._queue = queue

    def __call__(self) -> None:
        """Check and enqueue the launch."""
        _launch(self._used, self._queue, self._launch)

    def check_open(self) -> None:
        """See :class:`interop.protocols.Launch`."""
        self._launch.check_open()

    def prepare_call(self) -> PreparedCall:
        """See :class:`interop.protocols.Launch`."""
        prepared = self._launch.prepare_call()
        make = streams.checked_call(prepared)
        return prepared._replace(call=streams.returning_zero(lambda: _launch(self._used, self._queue, make)))
