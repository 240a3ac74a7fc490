"""Blocking: the caller waits for one side before it goes on with the other. Works everywhere, overlaps nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from interop.protocols import WaitTimeout

if TYPE_CHECKING:
    from interop.protocols import Producer, Stream, Submission


class HostToConsumer:
    """Base of directions in which the host watches the producer's progress: its values are the timeline values."""

    ready = None
    external_ready = None
    binary = None

    def submit(self, submission: Submission, wait_value: int, *, signals: bool) -> tuple[int, int]:  # noqa: ARG002 - the producer signals its progress
        """See :class:`ToConsumer`."""
        progress = submission.submit(wait_value)
        return progress, progress


class HostToProducer:
    """Base of directions in which no command list signals."""

    external_done = None

    def next_value(self) -> int:
        """No command list signals here."""
        return 0


class BlockingToConsumer(HostToConsumer):
    """The caller waits for the producer's progress."""

    failure = None

    def __init__(self, producer: Producer, timeout: float) -> None:
        self._progress = producer.progress
        self._who = f"{producer.device.backend} to finish a submission"
        self._timeout = timeout

    def wait(self, stream: Stream, value: int) -> int:  # noqa: ARG002 - the host waits for the stream
        """See :class:`ToConsumer`."""
        if not self._progress.wait_host(value, self._timeout):
            raise WaitTimeout(self._who, self._timeout)
        return value

    def rescue(self) -> None:
        """Nothing waits on the device."""

    def close(self) -> None:
        """The direction owns nothing."""


class BlockingToProducer(HostToProducer):
    """The caller waits for the consumer's stream."""

    done = None

    def __init__(self, timeout: float) -> None:
        self._timeout = timeout

    def signal(self, stream: Stream) -> int:
        """See :class:`ToProducer`."""
        stream.synchronize(self._timeout)
        return 0

    def rescue(self) -> None:
        """Nothing waits on the device."""

    def close(self) -> None:
        """The direction owns nothing."""
