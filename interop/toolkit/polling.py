"""Waiting with a bound for what drivers only wait for without one. For backends."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

_SPIN = 100e-6
"""Seconds in which the driver is asked without a pause: what is about to end is seen at once."""
_SHARE = 0.1
"""A nap, of what was waited so far: that much later, at most, is the end noticed."""
_SHORTEST, _LONGEST = 20e-6, 500e-6

Status = TypeVar("Status")


def poll(ask: Callable[[], Status], busy: Status, timeout: float) -> Status:
    """Ask until the answer is another than ``busy``, for ``timeout`` seconds; return the last answer."""
    start = time.monotonic()
    while (status := ask()) == busy:
        waited = time.monotonic() - start
        if waited >= timeout:
            break
        if waited > _SPIN:
            time.sleep(min(max(_SHARE * waited, _SHORTEST), _LONGEST, timeout - waited))
    return status
