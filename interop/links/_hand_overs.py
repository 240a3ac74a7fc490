"""The data that the order engine needs of turns and of ring batches."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop.links.sync import BinaryPair, ToConsumer, ToProducer
    from interop.protocols import CommandList, Commands, ExternalMemory, Stream, Submission
    from interop.toolkit import Ownership, OwnershipState


class Case(Protocol):
    """The prepared hand-over of a producer turn for one combination of states."""

    states: tuple[tuple[Ownership, OwnershipState], ...]
    changed: bool
    """Whether a buffer comes from the consumer."""
    leaving: Sequence[Callable[[Stream], object]]
    """The calls by which the consumer's stream releases the buffers."""
    returning: Sequence[Callable[[Commands], object]]
    """The calls by which the producer records the copies of staged buffers."""
    silent: Submission[Any] | None
    """The prepared submission without a signal."""
    signalling: Submission[Any] | None
    """The prepared submission with a signal."""
    eager: bool
    """Whether the submission itself signals a binary semaphore."""


class TurnHandOver(Protocol):
    """A turn of either side."""

    records: tuple[Ownership, ...]

    def name_of(self, record: Ownership) -> str:
        """Return the buffer of a record, for messages."""
        ...


class ConsumerHandOver(TurnHandOver, Protocol):
    """A consumer turn."""

    acquires: tuple[tuple[Ownership, Callable[[Stream], None]], ...]
    shared: bool
    """Whether the consumer must acquire memory that nobody has used."""


class ProducerHandOver(TurnHandOver, Protocol):
    """A producer turn."""

    case: Any
    """The :class:`Case` of the last turn."""
    submission: Any
    """The ``Submission`` of the open turn, or None."""
    signals: bool
    wait_value: int
    progress: int

    def choose(self) -> Any:
        """Return the case of the present states."""
        ...

    def prepare(self, case: Any, *, signals: bool) -> Submission[Any]:
        """Prepare the submission of a case, and keep it there."""
        ...


class BatchHandOver(Protocol):
    """The memory of one ring batch."""

    ownership: Ownership
    memory: ExternalMemory
    to_consumer: ToConsumer
    to_producer: ToProducer
    binary: BinaryPair | None
    producer_states: frozenset[OwnershipState]
    """From where the producer may take the batch."""
    consumer_states: frozenset[OwnershipState]
    producer_first: bool
    late: bool
    """Whether the producer's signal is given when the consumer takes the batch."""
    eager: bool
    """Whether the consumer's signal is given as the batch is left."""
    blocking: bool
    """Whether the consumer's signal is a wait of the caller."""
    progress: int
    serial: int
    """Number of batches left without a signal, when this one was."""


class BatchCalls(Protocol):
    """The consumer's prepared calls of a recorded batch."""

    commands: CommandList
    waits: bool
    """Whether the list waits for the producer itself."""
    signals: bool
    """Whether the list signals the producer itself."""
    whole: bool
    """Whether the producer comes first, and the list both waits and signals."""
