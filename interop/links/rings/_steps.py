"""The driver calls of one batch of a ring, in the order in which they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.links.sync import BinaryToConsumer, NativeToProducer, TimelineToConsumer
    from interop.protocols import BareCall, BareOwnership


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
