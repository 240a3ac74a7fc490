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
    bytecodes = calls = 0

    def look(frame: Any, event: str, _argument: object) -> Any:
        nonlocal bytecodes, calls
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        bytecodes += event == "opcode"
        calls += event == "call"
        return look

    gc.collect()
    gc.disable()
    before = sys.gettrace()
    sys.settrace(look)
    try:
        taken = take()
    finally:
        sys.settrace(before)
        gc.enable()
    drop(taken)
    return bytecodes, calls
