"""What an import costs in Python, held against the same calls by hand: functions for fresh processes."""

from __future__ import annotations

import gc
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import interop
from interop.bench.by_hand import beside

if TYPE_CHECKING:
    from collections.abc import Callable

BY_HAND = Path(__file__).parents[2] / "benchmarks" / "by_hand"
_SIZE, _WARM_UP = 65536, 8


def of_both(consumer: str) -> dict[str, tuple[int, int]]:
    """Return bytecodes and calls of Python functions of an export, import and map: ours, and by hand."""
    with ExitStack() as stack:
        link = stack.enter_context(interop.connect(consumer=consumer))
        buffer = link.producer.create_buffer(_SIZE, export=link.plan.handle_type)
        stack.callback(buffer.close)
        program = beside(link, BY_HAND)
        stack.callback(program.close)
        by_hand, drop_by_hand, close = program.importer(_SIZE)
        stack.callback(close)

        def take() -> Any:
            handle, descriptor = buffer.export_memory()
            with handle:
                memory = link.consumer.import_memory(handle, descriptor)
            return memory, memory.map_buffer()

        def drop(taken: Any) -> None:
            memory, view = taken
            view.close()
            memory.close()

        return {"interop": spent(take, drop), "by hand": spent(by_hand, drop_by_hand)}


def spent(take: Callable[[], Any], drop: Callable[[Any], None]) -> tuple[int, int]:
    """Return how many bytecodes one ``take`` runs, and how many functions of Python it calls.

    The same on any machine. After a warm-up, without what the collector would run in between.
    """
    for _ in range(_WARM_UP):
        drop(take())
    gc.collect()
    gc.disable()
    try:
        taken, bytecodes, calls = _monitored(take) if sys.version_info >= (3, 12) else _traced(take)
    finally:
        gc.enable()
    drop(taken)
    assert bytecodes > calls > 0
    return bytecodes, calls


def _traced(take: Callable[[], Any]) -> tuple[Any, int, int]:
    bytecodes = calls = 0

    def look(frame: Any, event: str, _argument: object) -> Any:
        nonlocal bytecodes, calls
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        bytecodes += event == "opcode"
        calls += event == "call"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        taken = take()
    finally:
        sys.settrace(before)
    return taken, bytecodes, calls


def _monitored(take: Callable[[], Any]) -> tuple[Any, int, int]:
    """As :func:`_traced`, which is told of none of them by CPython 3.12.1, and of few by 3.13.0."""
    monitoring: Any = vars(sys)["monitoring"]
    tool, events = monitoring.PROFILER_ID, monitoring.events
    counts = {events.INSTRUCTION: 0, events.PY_START: 0}

    def counter(event: int) -> Callable[..., None]:
        def count(*_: object) -> None:
            counts[event] += 1

        return count

    monitoring.use_tool_id(tool, "import cost")
    try:
        for event in counts:
            monitoring.register_callback(tool, event, counter(event))
        monitoring.set_events(tool, events.INSTRUCTION | events.PY_START)
        try:
            taken = take()
        finally:
            monitoring.set_events(tool, 0)
    finally:
        monitoring.free_tool_id(tool)
    return taken, counts[events.INSTRUCTION], counts[events.PY_START]
