"""The standard command list: prepared calls in a row."""

from __future__ import annotations

from operator import call, length_hint
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import LaunchCall, OwnershipCalls, PreparedCall, SemaphoreCalls, Stream

    Setters = list[Callable[[int], object]]
    """Functions that set a timeline value."""


class StandardCommandList:
    """Prepared calls for one stream. Fulfils :class:`interop.protocols.CommandList`."""

    __slots__ = ("_begins", "_calls", "_fails", "_launches", "_signals", "_stream", "_waits")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._begins: dict[Callable[[], object], None] = {}
        self._waits: Setters = []
        self._signals: Setters = []
        self._calls: list[Callable[[], int]] = []
        self._fails: list[Callable[[int], object]] = []
        """For each call, the function that raises the error of its status."""
        self._launches: list[bool] = []
        """For each call, whether it is a launch."""

    def wait(self, semaphore: SemaphoreCalls) -> None:
        """Add a wait; see :meth:`interop.protocols.CommandList.wait`."""
        self._add(semaphore.prepare_wait(self._stream), values=self._waits)

    def acquire(self, memory: OwnershipCalls) -> None:
        """Add an acquire; see :meth:`interop.protocols.CommandList.acquire`."""
        self._add(memory.prepare_acquire(self._stream))

    def launch(self, launch: LaunchCall) -> None:
        """Add a launch; see :meth:`interop.protocols.CommandList.launch`."""
        self._add(launch.prepare_call(), launch=True)

    def release(self, memory: OwnershipCalls) -> None:
        """Add a release; see :meth:`interop.protocols.CommandList.release`."""
        self._add(memory.prepare_release(self._stream))

    def signal(self, semaphore: SemaphoreCalls) -> None:
        """Add a signal; see :meth:`interop.protocols.CommandList.signal`."""
        self._add(semaphore.prepare_signal(self._stream), values=self._signals)

    def _add(
        self, prepared: PreparedCall | None, *, values: Setters | None = None, launch: bool = False
    ) -> None:
        if prepared is None:
            return
        if prepared.begin is not None:
            self._begins[prepared.begin] = None
        if values is not None and prepared.value is not None:
            values.append(prepared.value)
        self._calls.append(prepared.call)
        self._fails.append(prepared.fail)
        self._launches.append(launch)

    def submit(self, wait_value: int = 0, signal_value: int = 0) -> BaseException | None:
        """Enqueue all calls; see :meth:`interop.protocols.CommandList.submit`.

        After a failed launch the list skips its other launches, because they would compute on missing results.
        """
        for set_value in self._waits:
            set_value(wait_value)
        for set_value in self._signals:
            set_value(signal_value)
        for begin in self._begins:
            begin()
        left = iter(self._calls)
        try:
            # `map` makes the calls in C until one has a status: a loop in Python takes longer than the calls.
            status = next(filter(None, map(call, left)), 0)
            if status:
                self._fails[-1 - length_hint(left)](status)
        except BaseException as error:
            failed = len(self._calls) - 1 - length_hint(left)
            if not self._launches[failed]:
                raise
            self._finish(failed + 1)
            return error
        return None

    def _finish(self, first: int) -> None:
        """Make the calls from position ``first`` on that are no launches."""
        rest = zip(self._calls[first:], self._fails[first:], self._launches[first:], strict=True)
        for make, fail, launch in rest:
            if not launch and (status := make()):
                fail(status)
