"""Calls into drivers with nothing left to convert: what frames that were recorded consist of. For backends.

To offer them is optional; what has none is called as always. They leave out what the ordinary calls do besides:
looking whether something is closed, counting, flushing. So who makes them does that once for many.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.semaphore import Stream
    from interop.sync.native import BinaryToConsumer, NativeToProducer, TimelineToConsumer


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
        """Return :meth:`interop.semaphore.ExternalSemaphore.wait` on a stream."""
        ...

    def bare_signal(self, stream: Stream) -> BareCall:
        """Return :meth:`interop.semaphore.ExternalSemaphore.signal` on a stream, without the flush after it."""
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


def wait(semaphore: object, stream: Stream) -> BareCall | None:
    """Return the bare wait of a semaphore, if it offers that."""
    offers = _offers(semaphore, "bare_wait", "wait")
    return cast("BareSemaphore", semaphore).bare_wait(stream) if offers else None


def signal(semaphore: object, stream: Stream) -> BareCall | None:
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


def row(calls: Sequence[BareCall]) -> Callable[[], None]:
    """Return what makes these calls, one after the other, and raises for the first that fails."""
    begins, pairs = _begins(calls), _pairs(calls)

    def make() -> None:
        for begin in begins:
            begin()
        for call, fail in pairs:
            status = call()
            if status:
                fail(status)

    return make


class Steps:
    """The bare calls of one batch: the consumer's stream takes it, works on it, and gives it back."""

    __slots__ = ("_owning", "await_value", "back", "begins", "give", "give_value", "ready", "take", "work")

    def __init__(
        self,
        wait: BareCall,
        owning: BareOwnership,
        work: Sequence[BareCall],
        signal: BareCall,
        ready: TimelineToConsumer | BinaryToConsumer,
        back: NativeToProducer,
    ) -> None:
        acquire, release = ([each] if each is not None else [] for each in (owning.acquire, owning.release))
        take, give = (wait, *acquire), (*release, signal)
        self.begins = _begins((*take, *work, *give))
        self.take, self.work, self.give = map(_pairs, (take, work, give))
        self.ready = ready if wait.value is not None else None
        self.back = back if signal.value is not None else None
        """The directions, where they count: those with timelines."""
        self.await_value, self.give_value = wait.value or _ignore, signal.value or _ignore
        """To be told what the batch waits for, and what it signals."""
        self._owning = owning

    @property
    def valid(self) -> bool:
        """Whether these are still the calls that a batch needs."""
        return self._owning.valid()

    def broken(self) -> None:
        """Take note that not all of the calls may have been made."""
        self._owning.broken()


def _begins(calls: Sequence[BareCall]) -> list[Callable[[], object]]:
    """Return what a thread does before a row of calls, each thing once."""
    return list(dict.fromkeys(each.begin for each in calls if each.begin is not None))


def _pairs(calls: Sequence[BareCall]) -> list[tuple[Callable[[], int], Callable[[int], object]]]:
    return [(each.call, each.fail) for each in calls]


def _ignore(_value: int) -> None:
    pass
