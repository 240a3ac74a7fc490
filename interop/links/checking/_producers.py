"""Checks of producers: allocation, recording and submission."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from interop.links.checking import _streams as streams
from interop.links.checking._model import MODEL
from interop.links.checking._records import close_side, memories, of_turn, payloads, points, queues, scope_of
from interop.links.checking._state import ENTERING, Memory, Payload, Queue, Scope
from interop.links.checking._watch import Records, watch
from interop.protocols import ONE_SHOT

if TYPE_CHECKING:
    from interop.links.checking._watch import Call
    from interop.protocols import Producer


@dataclass(slots=True)
class Submitting:
    """The record of a prepared submission."""

    queue: Queue
    progress: Payload
    memories: list[Memory]
    """Those that the submission acquires or releases."""
    waited: object
    """The semaphore that it waits for. One that imports sync files has another record after each import."""
    signal: Payload | None
    touched: list[Memory] = field(default_factory=list[Memory])
    """Those that the recorded commands use."""


_submissions: Records[Submitting] = Records()
"""Of _submissions, and of their recorders."""


def watch_producer(producer: Producer, scope: Scope) -> None:
    """Watch a producer and the objects that it creates. Idempotent."""
    if queues.get(producer) is None:
        own = Scope(scope.name, made=scope.made)
        queues.put(producer, MODEL.queue(f"the queue of {producer.device.backend}", own))
        progress = payloads.put(producer, streams.watch_semaphore(producer.progress, scope))
        progress.name = f"the progress of {producer.device.backend}"
        watch(producer, _ProducerChecks)


class _ProducerChecks:
    wait_idle = streams.drain
    close = close_side

    def create_buffer(self, original: Call, size: int, **options: object) -> Any:
        scope = scope_of(self)
        buffer = original(size, **options)
        memories.put(buffer, Memory(scope.label("memory"), scope))
        return watch(buffer, _BufferChecks)

    def create_semaphore(self, original: Call, kind: object, **options: object) -> Any:
        semaphore = original(kind, **options)
        streams.watch_semaphore(semaphore, scope_of(self), one_shot=options.get("export") is ONE_SHOT)
        return semaphore

    def create_importing_semaphore(self, original: Call, handle_type: object) -> Any:
        semaphore = original(handle_type)
        streams.watch_semaphore(semaphore, scope_of(self), one_shot=True)
        return semaphore

    def prepare(self, original: Call, **options: Any) -> Any:
        submission = original(**options)
        shared = [memories.get(each) for name in ("acquire", "release") for each in options.get(name, ())]
        used = dict.fromkeys(own for each in shared if each is not None for own in of_turn(each))
        wait, signal = options.get("wait"), payloads.get(options.get("signal"))
        made = Submitting(queues[self], payloads[self], list(used), wait, signal)
        _submissions.put(submission, made)
        return watch(submission, _SubmissionChecks)


class _BufferChecks:
    def export_memory(self, original: Call) -> Any:
        handle, descriptor = original()
        memories.put(handle, memories[self])
        return handle, descriptor

    def part(self, original: Call, *args: object, **kwargs: object) -> Any:
        part = original(*args, **kwargs)
        memories.put(part, memories[self])
        return part


class _SubmissionChecks:
    def begin(self, original: Call, **options: object) -> Any:
        commands, found = original(**options), _submissions[self]
        found.touched = []
        _submissions.put(commands, found)
        return watch(commands, _CommandsChecks)

    def submit(self, original: Call, wait_value: int = 0, signal_value: int = 0) -> Any:
        found = _submissions[self]
        queue, wait, signal = found.queue, payloads.get(found.waited), found.signal
        waits = [wait.step(points.get(found.waited) or wait_value, signal=False)] if wait else []
        signals = [signal.step(signal_value, signal=True)] if signal else []
        used = list(dict.fromkeys([*found.memories, *found.touched]))
        MODEL.check_steps(queue, [*waits, *signals])
        for memory in used:
            if memory.imported and memory.acquired:
                memory.refuse(
                    "used by the producer while the consumer has it acquired",
                    "memory.release(stream) and a signal of the consumer before",
                    "release it first, or leave both to link.producer_turn",
                )
            MODEL.check_order(queue, memory, "used by a submission", waits)
        point = original(wait_value, signal_value)
        MODEL.add(queue, waits)
        MODEL.use(queue, used)
        MODEL.add(queue, [*signals, found.progress.step(point, signal=True)])
        return point


def _record(commands: object, original: Call, *args: object, **kwargs: object) -> Any:
    flat = [
        inner
        for each in (*args, *kwargs.values())
        for inner in (each if isinstance(each, (list, tuple)) else (each,))
    ]
    for each in flat:
        memory = memories.get(getattr(each, "producer_buffer", each))
        if memory is not None:
            _check_recorded(memory)
            _submissions[commands].touched.extend(memory.family())
    return original(*args, **kwargs)


class _CommandsChecks:
    fill = copy = draw = dispatch = _record


def _check_recorded(memory: Memory) -> None:
    """Raise :class:`Misuse` when the producer may not use a memory in what it records."""
    memory.check_open("recorded")
    bound = [each for each in memory.family() if each.buffer is not None]
    wrong = [each for each in bound if each.turn == "consumer"]
    if not wrong and not any(each.turn in {"producer", ENTERING} for each in bound):
        wrong = bound
    for each in wrong:
        now = f"in the {each.turn}'s turn" if each.turn else "outside a turn of its own"
        each.refuse(
            f"recorded by the producer {now}",
            "use inside `with link.producer_turn(buffer) as commands`, with that buffer named",
            "name every buffer that the commands use: link.producer_turn(first, second)",
        )
