"""Processes that are forked from a program with a link open, or end with work in flight."""

from __future__ import annotations

import json
import os
import sys
import time
from typing import TYPE_CHECKING, Any

from frames import COUNT, Bench

import interop
from interop import InteropError
from interop.protocols import SemaphoreKind
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable


def forked(consumer: str, sync: Any, *, polite: bool) -> dict[str, Any]:
    """Use a link in a forked child, then in its parent. ``polite``: the child ends as programs do."""
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        bench.run(range(2))
    before = leaks.snapshot()
    begun = time.monotonic()
    found = _fork_and_go_on(consumer, sync, polite=polite)
    return {**found, "left": leaks.leaked_since(before), "seconds": time.monotonic() - begun}


def _fork_and_go_on(consumer: str, sync: Any, *, polite: bool) -> dict[str, Any]:
    with interop.connect(consumer=consumer, sync=sync) as link:
        bench = Bench(link)
        bench.run(range(2))
        ring = link.ring(COUNT, "uint32", slots=2, batch=1)
        readable, writable = os.pipe()
        child = os.fork()
        if child == 0:
            uses: list[Callable[[], object]] = [
                link.synchronize,
                lambda: link.buffer(16),
                link.consumer_turn(bench.buffer).__enter__,
                link.producer_turn(bench.buffer).__enter__,
                lambda: list(ring.batches(1)),
                lambda: interop.connect(consumer=consumer, sync=sync),
            ]
            said = list(map(_said, uses))
            link.close()
            os.write(writable, json.dumps(said).encode())
            os.close(writable)
            if polite:
                sys.exit(0)
            os._exit(0)
        os.close(writable)
        with os.fdopen(readable) as pipe:
            said = json.load(pipe)
        status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        wrong = bench.run(range(2, 6))
        bench.close()
    return {"said": said, "status": status, "wrong": wrong}


def _said(use: Callable[[], object]) -> str:
    try:
        use()
    except InteropError as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def connected_after_the_fork(consumer: str) -> list[int]:
    """Fork before anything is connected; both processes then connect by themselves. Returns both's wrong frames."""
    child = os.fork()
    with interop.connect(consumer=consumer) as link:
        bench = Bench(link)
        wrong = bench.run(range(3))
        bench.close()
    if child == 0:
        os._exit(wrong)
    return [wrong, os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])]


def left_running(consumer: str, sync: Any, how: Any) -> dict[str, Any]:
    """End the interpreter with frames in flight, or with a queue that never goes on, and nothing closed."""
    link = interop.connect(consumer=consumer, sync=sync, timeout=2.0)
    bench = Bench(link)
    if how == "held":
        gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
        link.producer.prepare(wait=gate).submit(1)
        KEPT.append(gate)
    with link.producer_turn(bench.buffer) as commands:
        commands.fill(bench.buffer, 1)
    if not (how == "held" and sync == "blocking"):  # which would wait here, for as long as the link allows
        bench.enqueue(1)
    KEPT.extend([link, bench])
    if how == "exception":
        raise ZeroDivisionError
    return {"reached": True}


KEPT: list[object] = []
