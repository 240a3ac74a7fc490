"""What an import costs in Python, held against the same calls by hand: functions for fresh processes."""

from __future__ import annotations

import gc
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from instructions import counted

import interop
from interop.cli._timing import importer
from interop.cli.bench._programs import beside

if TYPE_CHECKING:
    from collections.abc import Callable

BY_HAND = Path(__file__).parents[2] / "benchmarks" / "by_hand"
_SIZE, _WARM_UP = 65536, 8


def of_both(consumer: str) -> dict[str, tuple[int, int]]:
    """Return bytecodes and calls of Python functions of an export, import and map: ours, and by hand."""
    with ExitStack() as stack:
        link = stack.enter_context(interop.connect(consumer=consumer))
        take, drop, close = importer(link, _SIZE)
        stack.callback(close)
        program = beside(link, BY_HAND)
        stack.callback(program.close)
        by_hand, drop_by_hand, close = program.importer(_SIZE)
        stack.callback(close)
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
        taken, bytecodes, calls = counted(take)
    finally:
        gc.enable()
    drop(taken)
    assert bytecodes > calls > 0
    return bytecodes, calls
