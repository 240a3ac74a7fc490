"""Blocking: the caller waits for one side before it goes on with the other. Works everywhere, overlaps nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import WaitTimeout

if TYPE_CHECKING:
    from interop.protocols import Producer, Stream


class BlockingToConsumer:
    """The caller waits for the producer's progress."""

    semaphore = None
    single_use = False
    unclaimed = False
    failure = None

    def __init__(self, producer: Producer, timeout: float) -> None:
        self._progress = producer.progress
        self._who = f"{producer.device.backend} to finish a submission"
        self._timeout = timeout

    def next_value(self) -> int:
        """See :class:`ToConsumer`."""
        return 0

    def can_signal(self) -> bool:
        """There is nothing to signal."""
        return False

    def submitted(self, progress: int, *, signalled: bool) -> int:  # noqa: ARG002 - progress is the point
        """See :class:`ToConsumer`."""
        return progress

    def returned(self) -> None:
        """Nothing hangs on it."""

    def wait(self, stream: Stream, point: int) -> int:  # noqa: ARG002 - the host has waited for the stream
        """See :class:`ToConsumer`."""
        if not self._progress.wait_host(point, self._timeout):
            raise WaitTimeout(self._who, self._timeout)
        return point

    def rescue(self) -> None:
        """Nothing waits on the device."""

    def close(self) -> None:
        """Nothing is owned."""


class BlockingToProducer:
    """The caller waits for the consumer's stream."""

    semaphore = None
    single_use = False

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        stream.synchronize(self._timeout)
        return 0

    def rescue(self) -> None:
        """Nothing waits on the device."""

    def close(self) -> None:
        """Nothing is owned."""
