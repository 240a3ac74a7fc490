"""The rules of streams, semaphores, memories and submissions, put around the methods of the objects themselves."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

from interop.checking.model import ENTERING, MODEL, Memory, Payload, Queue, Scope, closed
from interop.checking.watch import Records, watch
from interop.errors import InteropError, Misuse, WaitTimeout
from interop.semaphore import SemaphoreKind

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from interop.backend import Commands, Consumer, Producer, ProducerSemaphore, Submission
    from interop.kernels import Launch
    from interop.memory import MappedBuffer
    from interop.semaphore import Stream

    Call = Callable[..., Any]
    Arounds = dict[str, Callable[..., Any]]

Steps = list[tuple[Payload, int, bool]]


class Submitting:
    """What is known of a prepared submission."""

    __slots__ = ("memories", "queue", "signal", "touched", "wait")

    def __init__(
        self, queue: Queue, memories: list[Memory], wait: Payload | None, signal: Payload | None
    ) -> None:
        self.queue = queue
        self.memories = memories
        self.wait = wait
        self.signal = signal
        self.touched: list[Memory] = []


scopes: Records[Scope] = Records()
"""Of producers, consumers, and modules."""
queues: Records[Queue] = Records()
"""Of producers, streams, progress timelines, and consumers (their own stream)."""
payloads: Records[Payload] = Records()
"""Of semaphores on either side, and of handles on their way."""
memories: Records[Memory] = Records()
"""Of producers' buffers and parts, handles on their way, imports, and views."""
submissions: Records[Submitting] = Records()
"""Of submissions, and of their recorders."""


def queue_of(stream: object) -> Queue | None:
    """Return the queue behind a stream, if it is watched."""
    return queues.get(stream)


# Streams


def watch_stream(stream: Stream, scope: Scope, name: str) -> Queue:
    """Watch a stream of a consumer; one that is watched stays as it is."""
    found = queues.get(stream)
    if found is None:
        found = queues.put(stream, MODEL.queue(name, scope))
        watch(stream, "stream", {"synchronize": _synchronize})
    return found


def _synchronize(stream: object, original: Call, timeout: float) -> None:
    queue = queues.get(stream)
    with explained():
        original(timeout)
    if queue is not None:
        MODEL.drained(queue)


@contextlib.contextmanager
def explained() -> Generator[None]:
    """Add to a :class:`WaitTimeout` what each queue waits for."""
    try:
        yield
    except WaitTimeout as error:
        for line in MODEL.blocked():
            error.add_note(line)
        raise


# Semaphores


def watch_semaphore(semaphore: ProducerSemaphore, scope: Scope) -> None:
    """Watch a semaphore of a producer."""
    kind = semaphore.kind
    payloads.put(semaphore, Payload(scope.label(f"{kind.value} semaphore"), scope, kind))
    around: Arounds = {
        "export_semaphore": _export,
        "wait_host": _wait_host,
        "counter": _counter,
        "signal_host": _signal_host,
        "close": _close_semaphore,
    }
    watch(semaphore, "semaphore", around)


def _export(semaphore: object, original: Call) -> Any:
    handle, descriptor = original()
    found = payloads.get(semaphore)
    if found is not None:
        payloads.put(handle, found)
    return handle, descriptor


def _wait_host(semaphore: object, original: Call, value: int, timeout: float) -> bool:
    reached: bool = original(value, timeout)
    if reached:
        _observe(semaphore, value)
    return reached


def _counter(semaphore: object, original: Call) -> int:
    value: int = original()
    _observe(semaphore, value)
    return value


def _observe(semaphore: object, value: int) -> None:
    found = payloads.get(semaphore)
    # A thread that relays for a bridge knows more than the program, whose order is what is checked.
    if found is not None and not threading.current_thread().name.startswith("interop-"):
        MODEL.observed(found, value)


def _signal_host(semaphore: object, original: Call, value: int) -> None:
    found = payloads.get(semaphore)
    if found is not None and not found.relayed and not MODEL.quiet and value <= found.value:
        raise Misuse(
            found.name,
            found.scope.name,
            f"signalled with {value} by the host, and it is at or on its way to {found.value}",
            f"a value above {found.value}",
            "count up with every signal, whichever side gives it",
        )
    original(value)
    if found is not None and not found.relayed:  # a relay's is the stream's, and was noted then
        MODEL.signal_host(found, value)


def _close_semaphore(semaphore: object, original: Call) -> None:
    found = payloads.get(semaphore)
    if found is not None:
        MODEL.check_ended(found.name, found.scope, found.used)
    original()


def _enqueue(stream: object, original: Call, semaphore: object, value: int | None, *, signal: bool) -> None:
    payload, queue = payloads.get(semaphore), queues.get(stream)
    steps: Steps = [(payload, value or 0, signal)] if payload is not None and queue is not None else []
    if queue is not None:
        MODEL.check_steps(queue, steps)
    original(stream, value)
    if queue is not None:
        MODEL.add(queue, steps)


def _wait(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    _enqueue(stream, original, semaphore, value, signal=False)


def _signal(semaphore: object, original: Call, stream: object, value: int | None = None) -> None:
    _enqueue(stream, original, semaphore, value, signal=True)


# Consumers


def watch_consumer(consumer: Consumer, scope: Scope) -> Queue:
    """Watch what a consumer imports and runs; one that is watched stays as it is."""
    scopes.put(consumer, scope)
    found = queues.get(consumer)
    if found is None:
        name = f"the stream of {consumer.device.backend}"
        found = queues.put(consumer, watch_stream(consumer.stream, scope, name))
        around: Arounds = {
            "create_stream": _create_stream,
            "import_memory": _import_memory,
            "import_semaphore": _import_semaphore,
            "allocate": _allocate,
            "compile": _compile,
        }
        watch(consumer, "consumer", around)
    return found


def _scope(thing: object) -> Scope:
    return scopes.get(thing) or Scope("a link")


def _create_stream(consumer: object, original: Call) -> Any:
    stream = original()
    scope = _scope(consumer)
    watch_stream(stream, scope, scope.label("stream"))
    return stream


def _import_memory(consumer: object, original: Call, handle: object, descriptor: object) -> Any:
    found = memories.get(handle)
    memory = original(handle, descriptor)
    if found is None:
        scope = _scope(consumer)
        found = Memory(scope.label("memory"), scope)
    found.imported = True
    memories.put(memory, found)
    queue = queues.get(consumer)
    if queue is not None:
        queues.put(memory, queue)
    around: Arounds = {"map_buffer": _view, "acquire": _acquire, "release": _release, "close": _close_memory}
    return watch(memory, "memory", around)


def _import_semaphore(consumer: object, original: Call, handle: object, descriptor: Any) -> Any:
    found = payloads.get(handle)
    semaphore = original(handle, descriptor)
    if found is None:
        scope = _scope(consumer)
        found = Payload(scope.label("foreign semaphore"), scope, descriptor.kind, foreign=True)
    payloads.put(semaphore, found)
    return watch(semaphore, "external", {"wait": _wait, "signal": _signal, "close": _close_semaphore})


def _allocate(consumer: object, original: Call, size: int) -> Any:
    scope = _scope(consumer)
    view = original(size)
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
            "acquired by the consumer, which has it already",
            "acquire and release by turns",
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
            "released by the consumer, which does not have it",
            "acquire and release by turns",
            "acquire it first, or leave both to link.consumer_turn",
        )
    original(stream)
    if found is not None:
        found.acquired = False
        if queue is not None:
            MODEL.use(queue, [found])


def _close_memory(memory: object, original: Call) -> None:
    found = memories.get(memory)
    if found is not None:
        MODEL.check_ended(found.name, found.scope, found.used)
    original()


# Views and kernels


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
    with explained():
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
    launch = original(*args, **options)
    return lambda: _launch(used, queue, launch)


# Producers


def watch_producer(producer: Producer, scope: Scope) -> Queue:
    """Watch what a producer makes and submits; one that is watched stays as it is."""
    scopes.put(producer, scope)
    found = queues.get(producer)
    if found is None:
        found = queues.put(producer, MODEL.queue(f"the queue of {producer.device.backend}", scope))
        watch_semaphore(producer.progress, scope)
        progress = payloads.get(producer.progress)
        assert progress is not None  # just put there
        progress.name = f"the progress of {producer.device.backend}"
        around: Arounds = {
            "create_buffer": _create_buffer,
            "create_semaphore": _create_semaphore,
            "prepare": _prepare_submission,
            "wait_idle": _wait_idle,
        }
        watch(producer, "producer", around)
    return found


def _create_buffer(producer: object, original: Call, size: int, **options: object) -> Any:
    scope = _scope(producer)
    buffer = original(size, **options)
    memories.put(buffer, Memory(scope.label("memory"), scope))
    return watch(buffer, "buffer", {"export_memory": _export_memory, "part": _part})


def _export_memory(buffer: object, original: Call) -> Any:
    handle, descriptor = original()
    found = memories.get(buffer)
    if found is not None:
        memories.put(handle, found)
    return handle, descriptor


def _part(buffer: object, original: Call, *args: object, **kwargs: object) -> Any:
    part = original(*args, **kwargs)
    found = memories.get(buffer)
    if found is not None:
        memories.put(part, found)
    return part


def _create_semaphore(producer: object, original: Call, kind: SemaphoreKind, **options: object) -> Any:
    semaphore = original(kind, **options)
    watch_semaphore(semaphore, _scope(producer))
    return semaphore


def _wait_idle(producer: object, original: Call, timeout: float) -> None:
    with explained():
        original(timeout)
    queue = queues.get(producer)
    if queue is not None:
        MODEL.drained(queue)


def _prepare_submission(producer: Producer, original: Call, **options: Any) -> Submission:
    submission: Submission = original(**options)
    queue = queues.get(producer)
    if queue is None:
        return submission
    shared = [memories.get(each) for name in ("acquire", "release") for each in options.get(name, ())]
    made = Submitting(
        queue,
        list(dict.fromkeys(each for each in shared if each is not None)),
        payloads.get(options.get("wait")),
        payloads.get(options.get("signal")),
    )
    submissions.put(submission, made)
    queues.put(submission, queue)
    payloads.put(submission, _progress(producer))
    return watch(submission, "submission", {"begin": _begin, "submit": _submit})


def _progress(producer: Producer) -> Payload:
    found = payloads.get(producer.progress)
    assert found is not None  # watched with the producer
    return found


def _begin(submission: object, original: Call, **options: object) -> Commands:
    commands: Commands = original(**options)
    found = submissions.get(submission)
    if found is None:
        return commands
    found.touched = []
    submissions.put(commands, found)
    recorded: Arounds = dict.fromkeys(("fill", "copy", "draw", "dispatch"), _record)
    return watch(commands, "commands", recorded)


def _record(commands: object, original: Call, *args: object, **kwargs: object) -> Any:
    submission = submissions.get(commands)
    flat = [
        inner
        for each in (*args, *kwargs.values())
        for inner in (each if isinstance(each, (list, tuple)) else (each,))
    ]
    used = [memories.get(getattr(each, "producer_buffer", each)) for each in flat]
    for memory in used:
        if memory is not None and submission is not None:
            _check_recorded(memory)
            submission.touched.append(memory)
    return original(*args, **kwargs)


def _check_recorded(memory: Memory) -> None:
    """Raise :class:`Misuse` when the producer may not use a memory in what it records."""
    if MODEL.quiet:
        return
    if memory.scope.closed:
        raise closed(memory.name, memory.scope, "recorded")
    if memory.buffer is not None and memory.turn not in {"producer", ENTERING}:
        now = f"in the {memory.turn}'s turn" if memory.turn else "outside a turn of its own"
        raise Misuse(
            memory.name,
            memory.scope.name,
            f"recorded by the producer {now}",
            "use inside `with link.producer_turn(buffer) as commands`, with that buffer named",
            "name every buffer that the commands use: link.producer_turn(first, second)",
        )


def _submit(submission: object, original: Call, wait_value: int = 0, signal_value: int = 0) -> int:
    found, progress = submissions.get(submission), payloads.get(submission)
    if found is None or progress is None:
        point: int = original(wait_value, signal_value)
        return point
    queue, steps = found.queue, _steps(found, wait_value, signal_value)
    used = list(dict.fromkeys([*found.memories, *found.touched]))
    MODEL.check_steps(queue, steps)
    after = (found.wait, wait_value) if found.wait is not None else None
    for memory in used:
        if memory.imported and memory.acquired and not MODEL.quiet:
            raise Misuse(
                memory.name,
                memory.scope.name,
                "used by the producer while the consumer has it acquired",
                "memory.release(stream) and a signal of the consumer before",
                "release it first, or leave both to link.producer_turn",
            )
        MODEL.check_order(queue, memory, "used by a submission", after)
    point = original(wait_value, signal_value)
    waits = [step for step in steps if not step[2]]
    MODEL.add(queue, waits)
    MODEL.use(queue, used)
    MODEL.add(queue, [*(step for step in steps if step[2]), (progress, point, True)])
    return point


def _steps(found: Submitting, wait_value: int, signal_value: int) -> Steps:
    steps: Steps = []
    if found.wait is not None:
        steps.append((found.wait, _value(found.wait, wait_value), False))
    if found.signal is not None:
        steps.append((found.signal, _value(found.signal, signal_value), True))
    return steps


def _value(payload: Payload, value: int) -> int:
    return 0 if payload.kind is SemaphoreKind.BINARY else value


def look(producer: Producer) -> None:
    """See how far a producer's queue is, without waiting; a device that is lost tells nothing."""
    with contextlib.suppress(InteropError):
        producer.progress.counter()
