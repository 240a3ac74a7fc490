"""The standard command list: prepared calls in a row."""

from __future__ import annotations

from operator import call, length_hint
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.protocols import LaunchCall, OwnershipCalls, PreparedCall, SemaphoreCalls, Stream


class StandardCommandList:
    """Prepared calls for one stream. Fulfils :class:`interop.protocols.CommandList`."""

    __slots__ = ("_begins", "_segments", "_signals", "_stream", "_waits")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._begins: dict[Callable[[], object], None] = {}
        self._waits: list[Callable[[int], object]] = []
        self._signals: list[Callable[[int], object]] = []
        self._segments: list[tuple[bool, list[Callable[[], int]], list[Callable[[int], object]]]] = []
        """Calls in a row: whether they are launches, the calls, and the functions that raise their errors."""

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
        self,
        prepared: PreparedCall | None,
        *,
        values: list[Callable[[int], object]] | None = None,
        launch: bool = False,
    ) -> None:
        if prepared is None:
            return
        if prepared.begin is not None:
            self._begins[prepared.begin] = None
        if values is not None and prepared.value is not None:
            values.append(prepared.value)
        if not self._segments or self._segments[-1][0] is not launch:
            self._segments.append((launch, [], []))
        _, calls, fails = self._segments[-1]
        calls.append(prepared.call)
        fails.append(prepared.fail)

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
        failure: BaseException | None = None
        for launches, calls, fails in self._segments:
            if launches and failure is not None:
                continue
            left = iter(calls)
            try:
                # `map` makes the calls in C until one has a status: a loop in Python takes longer than the calls.
                while status := next(filter(None, map(call, left)), 0):
                    fails[-1 - length_hint(left)](status)
            except BaseException as error:
                if not launches:
                    raise
                failure = error  # returned, once the signal is enqueued
        return failure
