"""Calls into drivers with nothing left to convert: what frames that were recorded consist of. For backends.

To offer them is optional; what has none is called as always. They leave out what the ordinary calls do besides:
looking whether something is closed, counting, flushing. So who makes them does that once for many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.protocols.streams import Stream


class BareCall(NamedTuple):
    """A call into a driver that is the same each time."""

    call: Callable[[], int]
    """Makes it, and returns the driver's status: 0 for success."""
    fail: Callable[[int], object]
    """Raises the error that another status stands for."""
    begin: Callable[[], object] | None = None
    """What this thread must do before a row of such calls, as making a context current."""
    value: Callable[[int], object] | None = None
    """Sets the value of a timeline that the next call is about; None where it takes none."""


class BareOwnership(NamedTuple):
    """How a memory changes hands in bare calls on one stream."""

    acquire: BareCall | None
    """None where the API does not know of owners."""
    release: BareCall | None
    broken: Callable[[], None]
    """To be called where a row of calls was broken off: the memory may be acquired still."""
    valid: Callable[[], bool]
    """Whether these are still the calls that the memory needs."""


class BareLaunch(Protocol):
    """A prepared launch that can be had as a bare call."""

    def check_open(self) -> None:
        """Raise :class:`ClosedError` once something that it uses has been closed."""
        ...

    def bare(self) -> BareCall:
        """Return the launch alone."""
        ...


class BareSemaphore(Protocol):
    """An external semaphore whose waits and signals are the same each time but for the value."""

    def bare_wait(self, stream: Stream) -> BareCall:
        """Return :meth:`interop.protocols.ExternalSemaphore.wait` on a stream."""
        ...

    def bare_signal(self, stream: Stream) -> BareCall:
        """Return :meth:`interop.protocols.ExternalSemaphore.signal` on a stream, without the flush after it."""
        ...


class BareMemory(Protocol):
    """External memory that changes hands by the same calls each time."""

    def bare(self, stream: Stream) -> BareOwnership | None:
        """Return what acquires and releases it on a stream, or None where that is not the same each time."""
        ...


def launches(prepared: Sequence[Callable[[], object]]) -> list[BareLaunch] | None:
    """Return launches that can all be had as bare calls, or None."""
    found = all(_offers(each, "bare", "__call__") for each in prepared)
    return cast("list[BareLaunch]", list(prepared)) if found else None


def bare_wait(semaphore: object, stream: Stream) -> BareCall | None:
    """Return the bare wait of a semaphore, if it offers that."""
    offers = _offers(semaphore, "bare_wait", "wait")
    return cast("BareSemaphore", semaphore).bare_wait(stream) if offers else None


def bare_signal(semaphore: object, stream: Stream) -> BareCall | None:
    """Return the bare signal of a semaphore, if it offers that."""
    offers = _offers(semaphore, "bare_signal", "signal")
    return cast("BareSemaphore", semaphore).bare_signal(stream) if offers else None


def ownership(memory: object, stream: Stream) -> BareOwnership | None:
    """Return how a memory changes hands in bare calls, if it offers that."""
    offers = _offers(memory, "bare", "acquire", "release")
    return cast("BareMemory", memory).bare(stream) if offers else None


def _offers(thing: object, bare: str, *ordinary: str) -> bool:
    """Whether the class that says what the ordinary calls do says what the bare ones do: one derived may not."""
    for each in type(thing).__mro__:
        if any(name in each.__dict__ for name in ordinary):
            return bare in each.__dict__
    return False
