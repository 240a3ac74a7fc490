"""The two directions of a link, as every strategy fulfils them.

A *timeline value* of a direction counts its hand-overs. Values of one direction can be compared with each other only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from interop.links.sync.binary import BinaryPair
    from interop.protocols import ExternalSemaphore, InteropError, ProducerSemaphore, Stream, Submission


class OneWay(Protocol):
    """A direction of either kind."""

    def rescue(self) -> None:
        """Release the stream or queue that still waits, after a failure, so that everything can be closed."""
        ...

    def close(self) -> None:
        """Release what the direction owns. A second call does nothing."""
        ...


class ToConsumer(OneWay, Protocol):
    """Makes the consumer's stream wait for the producer's queue."""

    @property
    def ready(self) -> ProducerSemaphore | None:
        """The semaphore that submissions of the producer signal; None where the producer's progress is enough."""
        ...

    @property
    def external_ready(self) -> ExternalSemaphore | None:
        """The consumer's import of :attr:`ready` that a command list may wait for; None where there is none."""
        ...

    @property
    def binary(self) -> BinaryPair | None:
        """The direction itself where its semaphore is binary: a signal must be waited for before the next one."""
        ...

    @property
    def failure(self) -> InteropError | None:
        """The error that a thread of the direction met. :meth:`wait` raises it too."""
        ...

    def submit(self, submission: Submission, wait_value: int, *, signals: bool) -> tuple[int, int]:
        """Submit work of the producer.

        Args:
            submission: What to submit; it signals :attr:`ready` if ``signals``.
            wait_value: Timeline value that the submission waits for.
            signals: Whether the submission was prepared with a signal.

        Returns:
            The timeline value on the producer's progress, and the timeline value of this direction.
        """
        ...

    def wait(self, stream: Stream, value: int) -> int:
        """Make ``stream`` wait for a timeline value.

        Returns:
            The newest timeline value that the stream now waits for.

        Raises:
            WaitTimeout: The strategy waits on the host and the producer took longer than the link's timeout, or an
                earlier wait ended that way.
        """
        ...


class ToProducer(OneWay, Protocol):
    """Makes the producer's queue wait for the consumer's stream."""

    @property
    def done(self) -> ProducerSemaphore | None:
        """The semaphore that a submission waits for; None where the host has waited already."""
        ...

    @property
    def external_done(self) -> ExternalSemaphore | None:
        """The consumer's import of :attr:`done` that a command list may signal; None where there is none."""
        ...

    def signal(self, stream: Stream) -> int:
        """Make ``stream`` signal after its work so far; return the timeline value to wait for."""
        ...

    def next_value(self) -> int:
        """Reserve the timeline value with which a command list signals next."""
        ...
