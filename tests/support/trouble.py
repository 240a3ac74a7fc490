"""Failing connections and interrupted programs in fresh processes, and the resources that remain."""

from __future__ import annotations

import functools
import sys
import time
from typing import Any

from frames import COUNT, Bench

import interop
from interop import InteropError
from interop.protocols import SemaphoreKind
from interop.testing import leaks


def refused(consumer: str, times: int = 3, **choices: Any) -> dict[str, Any]:
    """Connect several times, which must fail. Return the error and the leaks of the later attempts."""
    error: InteropError | None = None
    before = leaks.snapshot()
    for attempt in range(times):
        if attempt == 1:  # the first one may load libraries, which stay
            before = leaks.snapshot()
        try:
            interop.connect(consumer=consumer, **choices).close()
        except InteropError as failure:
            error = failure.with_traceback(None)
    assert error is not None
    return {
        "error": type(error).__name__,
        "message": str(error),
        "left": leaks.leaked_since(before),
        **{
            name: getattr(error, name)
            for name in ("install_hint", "producer", "consumer")
            if hasattr(error, name)
        },
    }


def interrupted(consumer: str, sync: Any, *, caught: bool) -> dict[str, Any]:
    """Run frames until Ctrl-C. ``caught``: outside the link, and look at what is left."""
    _frames(consumer, sync, 1)
    before = leaks.snapshot()
    try:
        _frames(consumer, sync, sys.maxsize)
    except KeyboardInterrupt:
        if not caught:
            raise
    return {"left": leaks.leaked_since(before)}


def _frames(consumer: str, sync: Any, count: int) -> None:
    with interop.connect(consumer=consumer, sync=sync, timeout=5.0) as link:
        bench = Bench(link)
        if count > 1:
            print("running", flush=True)  # noqa: T201 - the parent waits for it
        for frame in range(count):
            bench.enqueue(frame)
            if frame % 8 == 0:
                link.synchronize()
        link.synchronize()
        bench.close()


def interrupted_wait(consumer: str, sync: Any) -> dict[str, Any]:
    """Wait long for a queue that is stopped, until Ctrl-C; then let it go on and close."""
    with interop.connect(consumer=consumer, sync=sync, timeout=40.0) as link:
        bench = Bench(link)
        gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
        stop = link.producer.prepare(wait=gate)
        stop.submit(1)
        try:
            print("running", flush=True)  # noqa: T201 - the parent waits for it, and interrupts from then on
            bench.enqueue(0)
            link.synchronize()
        except KeyboardInterrupt:
            seen = True
        else:
            seen = False
        finally:
            gate.signal_host(1)
        link.synchronize()
        bench.close()
        stop.close()
        gate.close()
    return {"interrupted": seen}


def broken_off(consumer: str, sync: Any, side: str) -> dict[str, Any]:
    """Leave a link by an exception inside a turn. Return the leaks and the seconds it took."""
    _frames(consumer, sync, 1)
    before = leaks.snapshot()
    begun = time.monotonic()
    try:
        _fail_in_a_turn(consumer, sync, side)
    except ZeroDivisionError:
        ended = time.monotonic()
    else:
        message = "the exception was swallowed"
        raise AssertionError(message)
    return {"left": leaks.leaked_since(before), "seconds": ended - begun}


def _fail_in_a_turn(consumer: str, sync: Any, side: str) -> None:
    with interop.connect(consumer=consumer, sync=sync) as link:
        buffer = link.buffer((COUNT,), "uint32")
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 1)
            if side == "producer":
                raise ZeroDivisionError
        with link.consumer_turn(buffer) as view:
            view.write(bytes(4 * COUNT))
            raise ZeroDivisionError


def never_signalled(consumer: str, sync: Any) -> dict[str, Any]:
    """Close a link whose producer's queue never goes on; return what that raised and how long it took."""
    link = interop.connect(consumer=consumer, sync=sync, timeout=0.5)
    buffer = link.buffer((COUNT,), "uint32")
    gate = link.producer.create_semaphore(SemaphoreKind.TIMELINE)
    link.producer.prepare(wait=gate).submit(1)
    begun = time.monotonic()
    found: list[str] = []
    waits = (functools.partial(_hand_over, link, buffer), link.synchronize, link.close)
    for wait in waits:
        try:
            wait()
        except InteropError as error:
            found.append(f"{type(error).__name__}: {error}")
    seconds = time.monotonic() - begun
    return {"errors": found, "seconds": seconds}


def _hand_over(link: interop.Link, buffer: interop.Buffer) -> None:
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, 1)
    with link.consumer_turn(buffer):
        pass
