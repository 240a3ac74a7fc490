"""Waiting for the work of both sides, and the last chance of work that does not end."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from interop.protocols import ClosedError, DriverError, InteropError, WaitTimeout

if TYPE_CHECKING:
    from interop.links.order import Order
    from interop.protocols import Consumer, Producer

GRACE = 0.5
"""Seconds that released work gets after Ctrl-C, in place of another timeout."""


def drain(producer: Producer, consumer: Consumer, order: Order, timeout: float) -> None:
    """Block until both sides have done all that was enqueued, ``timeout`` seconds in all.

    Raises:
        WaitTimeout: The work did not end in time.
        DriverError: The work failed.
    """
    deadline = time.monotonic() + timeout
    try:
        consumer.stream.synchronize(timeout)
    except DriverError as error:  # the stream knows that a gate failed, and the direction knows why
        from interop.toolkit import HOLD

        if error.function != HOLD or order.to_consumer.failure is None:
            raise
        raise order.to_consumer.failure from error
    producer.wait_idle(max(deadline - time.monotonic(), 0.001))


def drain_open_sides(
    producer: Producer, consumer: Consumer, order: Order, timeout: float
) -> InteropError | None:
    """Drain both sides. A closed side has nothing in flight; return the error that says so."""
    try:
        drain(producer, consumer, order, timeout)
    except ClosedError as error:
        with contextlib.suppress(ClosedError):
            producer.wait_idle(timeout)
        failure = ClosedError(f"{error}; close a link before the devices that it joins")
        failure.__cause__ = error
        return failure
    return None


def rescue(producer: Producer, consumer: Consumer, order: Order, timeout: float) -> bool:
    """Release everything that still waits; return whether both sides came to rest within ``timeout`` seconds."""
    for direction in (order.to_consumer, order.to_producer):
        with contextlib.suppress(InteropError):
            direction.rescue()
    deadline = time.monotonic() + timeout
    try:
        for rest in (consumer.stream.synchronize, producer.wait_idle):
            with contextlib.suppress(DriverError, ClosedError):  # failed work has ended too
                rest(max(deadline - time.monotonic(), 0.001))
    except WaitTimeout:
        return False
    return True
