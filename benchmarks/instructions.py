"""The bytecode instructions that Python runs for some work: a cost that is the same on a busy machine.

How they can be seen depends on the version. Up to 3.11 a trace function that asks for ``opcode`` events gets all of
them. From 3.12 on it misses what runs before the interpreter has made a function ready for such events: the first
measurement of CPython 3.12.1 gets none at all, of 3.13.0 three quarters. There, ``sys.monitoring`` (PEP 669) counts.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

TOOLS = 6
"""How many tools ``sys.monitoring`` serves."""


Result = TypeVar("Result")


class Counted(NamedTuple, Generic[Result]):
    """What some work cost the thread that did it, and what it returned."""

    result: Result
    instructions: int
    """Bytecode instructions."""
    calls: int
    """Calls of functions that are written in Python."""


def instructions(work: Callable[[], object]) -> int:
    """Count the bytecode instructions that this thread runs in ``work`` and in what it calls; see :func:`counted`."""
    return counted(work).instructions


def counted(work: Callable[[], Result]) -> Counted[Result]:
    """Count the bytecode instructions that this thread runs in ``work`` and in what it calls, and its calls.

    Numbers are to be compared within one version of Python alone. RuntimeError when there were none, which no call
    of a Python function can have: a measure that sees nothing must not look like a cost of nothing. RuntimeError too
    when all tools of ``sys.monitoring`` are taken. What was traced before is traced again afterwards.
    """
    found = _count(work)
    if not found.instructions:
        version = ".".join(map(str, sys.version_info[:3]))
        raise RuntimeError(
            f"Python {version} showed no bytecode instruction of {work!r}; give a function written in Python"
        )
    return found


if sys.version_info >= (3, 12):

    def _count(work: Callable[[], Result]) -> Counted[Result]:
        monitoring, bytecodes, calls = sys.monitoring, 0, 0
        thread, own = threading.get_ident(), sys._getframe().f_code  # noqa: SLF001 - the only way to this code object

        def see(code: CodeType, _: int) -> None:
            nonlocal bytecodes
            bytecodes += code is not own and threading.get_ident() == thread

        def start(_code: CodeType, _: int) -> None:
            nonlocal calls
            calls += threading.get_ident() == thread

        free = [tool for tool in range(TOOLS) if monitoring.get_tool(tool) is None]
        if not free:
            raise RuntimeError("all tools of sys.monitoring are taken: stop a debugger, profiler or coverage")
        tool, events = free[-1], monitoring.events  # the first ones have names: debugger, coverage
        seen = {events.INSTRUCTION: see, events.PY_START: start}
        monitoring.use_tool_id(tool, "instructions")
        try:
            for event, callback in seen.items():
                monitoring.register_callback(tool, event, callback)
            monitoring.set_events(tool, events.INSTRUCTION | events.PY_START)
            result = work()
        finally:
            monitoring.set_events(tool, events.NO_EVENTS)
            for event in seen:
                monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)
        return Counted(result, bytecodes, calls)

else:

    def _count(work: Callable[[], Result]) -> Counted[Result]:
        bytecodes = calls = 0

        def look(frame: FrameType, event: str, _: object) -> Any:
            nonlocal bytecodes, calls
            frame.f_trace_opcodes, frame.f_trace_lines = True, False
            bytecodes += event == "opcode"
            calls += event == "call"
            return look

        before = sys.gettrace()
        sys.settrace(look)
        try:
            result = work()
        finally:
            sys.settrace(before)
        return Counted(result, bytecodes, calls)
