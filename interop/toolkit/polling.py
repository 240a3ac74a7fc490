"""Bounded waits for drivers whose own waits have no timeout."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_SPIN = 100e-6
"""Seconds of polling without a pause, so that work that is about to end is seen at once."""
_SHARE = 0.1
"""Length of a nap as a part of the wait so far: the end is noticed that much later at most."""
_SHORTEST, _LONGEST = 20e-6, 500e-6

Status = TypeVar("Status")


def poll(ask: Callable[[], Status], busy: Status, timeout: float) -> Status:
    """Poll until ``ask()`` returns something else than ``busy``, for ``timeout`` seconds; return the last answer."""
    start = time.monotonic()
    while (status := ask()) == busy:
        waited = time.monotonic() - start
        if waited >= timeout:
            break
        if waited > _SPIN:
            time.sleep(min(max(_SHARE * waited, _SHORTEST), _LONGEST, timeout - waited))
    return status
