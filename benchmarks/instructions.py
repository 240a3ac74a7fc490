"""The bytecode instructions that Python runs for some work: a cost that is the same on a busy machine.

How they can be seen depends on the version. Up to 3.11 a trace function that asks for ``opcode`` events gets all of
them. From 3.12 on it misses what runs before the interpreter has made a function ready for such events: the first
measurement of CPython 3.12.1 gets none at all, of 3.13.0 three quarters. There, ``sys.monitoring`` (PEP 669) counts.
"""

from __future__ import annotations

import sys
import threading
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import CodeType, FrameType

TOOLS = 6
"""How many tools ``sys.monitoring`` serves."""


def instructions(work: Callable[[], object]) -> int:
    """Count the bytecode instructions that this thread runs in ``work`` and in what it calls.

    Numbers are to be compared within one version of Python alone. RuntimeError when there were none, which no call
    of a Python function can have: a measure that sees nothing must not look like a cost of nothing. RuntimeError too
    when all tools of ``sys.monitoring`` are taken. What was traced before is traced again afterwards.
    """
    count = _monitored(work) if sys.version_info >= (3, 12) else _traced(work)
    if not count:
        version = ".".join(map(str, sys.version_info[:3]))
        raise RuntimeError(
            f"Python {version} showed no bytecode instruction of {work!r}; give a function written in Python"
        )
    return count


def _traced(work: Callable[[], object]) -> int:
    count = 0

    def look(frame: FrameType, event: str, _: object) -> Any:
        nonlocal count
        frame.f_trace_opcodes, frame.f_trace_lines = True, False
        count += event == "opcode"
        return look

    before = sys.gettrace()
    sys.settrace(look)
    try:
        work()
    finally:
        sys.settrace(before)
    return count


if sys.version_info >= (3, 12):

    def _monitored(work: Callable[[], object]) -> int:
        monitoring, count = sys.monitoring, 0
        thread, own = threading.get_ident(), sys._getframe().f_code  # noqa: SLF001 - the only way to this code object

        def see(code: CodeType, _: int) -> None:
            nonlocal count
            count += code is not own and threading.get_ident() == thread

        free = [tool for tool in range(TOOLS) if monitoring.get_tool(tool) is None]
        if not free:
            raise RuntimeError("all tools of sys.monitoring are taken: stop a debugger, profiler or coverage")
        tool, event = free[-1], monitoring.events.INSTRUCTION  # the first ones have names: debugger, coverage
        monitoring.use_tool_id(tool, "instructions")
        try:
            monitoring.register_callback(tool, event, see)
            monitoring.set_events(tool, event)
            work()
        finally:
            monitoring.set_events(tool, monitoring.events.NO_EVENTS)
            monitoring.register_callback(tool, event, None)
            monitoring.free_tool_id(tool)
        return count

else:

    def _monitored(work: Callable[[], object]) -> int:
        raise NotImplementedError("sys.monitoring came with Python 3.12")
