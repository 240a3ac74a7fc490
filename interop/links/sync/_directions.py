"""The two directions of a link, as every strategy fulfils them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from interop.protocols import InteropError, ProducerSemaphore, Stream


class ToConsumer(Protocol):
    """Makes the consumer's stream wait for the producer's queue."""

    @property
    def semaphore(self) -> ProducerSemaphore | None:
        """What submissions of producer turns signal; ``None`` when the producer's progress is enough."""
        ...

    @property
    def single_use(self) -> bool:
        """Whether a signal must have been waited for before the next one can be given (binary)."""
        ...

    @property
    def unclaimed(self) -> bool:
        """Whether a single-use signal is out that nobody was made to wait for."""
        ...

    @property
    def failure(self) -> InteropError | None:
        """Why a hand-over did not come, where a thread of the direction found that out; :meth:`wait` raises it."""
        ...

    def can_signal(self) -> bool:
        """Whether the next submission may signal :attr:`semaphore`."""
        ...

    def next_value(self) -> int:
        """The value with which the next submission signals :attr:`semaphore`."""
        ...

    def submitted(self, progress: int, *, signalled: bool) -> int:
        """Record a submission that reaches ``progress`` on the producer; return its point."""
        ...

    def returned(self) -> None:
        """Record that the next submission waits for what the consumer's stream holds so far."""
        ...

    def wait(self, stream: Stream, point: int) -> int:
        """Make ``stream`` wait for ``point``; return the newest point that it has now waited for.

        Raises :class:`interop.protocols.WaitTimeout` where the strategy waits on the host, or when an earlier
        wait of this link ended that way.
        """
        ...

    def rescue(self) -> None:
        """Let go of every stream still waiting, after a failure, so that things can be closed."""
        ...

    def close(self) -> None:
        """Release what the direction owns. A second call does nothing."""
        ...


class ToProducer(Protocol):
    """Makes the producer's queue wait for the consumer's stream."""

    @property
    def semaphore(self) -> ProducerSemaphore | None:
        """What a submission that takes memory over must wait on; ``None`` when the host has waited already."""
        ...

    @property
    def single_use(self) -> bool:
        """Whether a signal must have been waited for before the next one can be given (binary)."""
        ...

    def signal(self, stream: Stream) -> int:
        """Make ``stream`` signal after its work so far; return the value for the submission to wait for."""
        ...

    def rescue(self) -> None:
        """Let go of the queue if it still waits, after a failure, so that things can be closed."""
        ...

    def close(self) -> None:
        """Release what the direction owns. A second call does nothing."""
        ...
