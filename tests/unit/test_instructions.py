"""The count of bytecode instructions, by which costs are told on any machine, is complete on this Python."""

from __future__ import annotations

import sys
import threading
from functools import partial
from typing import TYPE_CHECKING

import pytest
from instructions import instructions

if TYPE_CHECKING:
    from collections.abc import Iterator


def _numbers(count: int) -> Iterator[int]:
    yield from range(count)


def _work(count: int) -> None:
    """Call, loop and resume: what a function is made ready for when it starts must be seen after it, too."""
    for number in _numbers(count):
        sorted([number, 1], key=lambda each: -each)


def test_every_run_counts_the_same_from_the_first_on() -> None:
    def fresh() -> None:  # a code object that no count has seen
        _work(5)

    counts = [instructions(fresh) for _ in range(4)]
    assert len(set(counts)) == 1, counts


def test_the_count_grows_with_the_work_alone() -> None:
    ten, twenty, thirty = (instructions(partial(_work, count)) for count in (10, 20, 30))
    assert thirty - twenty == twenty - ten
    assert twenty - ten >= 10 * 10  # a turn of this loop is above ten instructions on every version


def test_other_threads_do_not_count() -> None:
    def beside() -> None:
        thread = threading.Thread(target=_work, args=(2000,))
        thread.start()
        thread.join()

    alone = instructions(lambda: _work(2000))
    assert instructions(beside) < alone / 10


def test_nothing_seen_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="showed no bytecode instruction"):
        instructions(list)


def test_an_exception_passes_and_leaves_nothing_on() -> None:
    def fail() -> None:
        raise KeyError("wanted")

    before, tools = sys.gettrace(), _tools()
    with pytest.raises(KeyError, match="wanted"):
        instructions(fail)
    assert sys.gettrace() is before
    assert _tools() == tools


if sys.version_info >= (3, 12):

    def test_no_tool_left_is_an_error() -> None:
        taken = [tool for tool, name in enumerate(_tools()) if name is None]
        for tool in taken:
            sys.monitoring.use_tool_id(tool, "taken")
        try:
            with pytest.raises(RuntimeError, match="are taken"):
                instructions(lambda: _work(1))
        finally:
            for tool in taken:
                sys.monitoring.free_tool_id(tool)


def _tools() -> list[str | None]:
    monitoring = getattr(sys, "monitoring", None)
    return [] if monitoring is None else [monitoring.get_tool(tool) for tool in range(6)]
