"""Hand-overs by sync files whose steps a driver refuses: what can be tried again, and what is given back."""

from __future__ import annotations

from typing import Any

import doubles
import pytest

from interop import DriverError
from interop.links.sync._sync_files import SyncFileToConsumer, SyncFileToProducer
from interop.protocols import SemaphoreKind

REFUSED = DriverError("f", 7, "SEVEN")


def refuse(*_: object, **__: object) -> None:
    raise REFUSED


def sides() -> tuple[Any, Any, doubles.World]:
    world = doubles.World()
    left, right = doubles.one_shot_infos()
    return doubles.Producer(world, left), doubles.Consumer(world, right), world


def submit(producer: Any, direction: SyncFileToConsumer) -> int:
    submission = producer.prepare(signal=direction.ready)
    _, value = direction.submit(submission, 0, signals=True)
    submission.close()
    return value


@pytest.mark.parametrize("step", ["import", "wait"])
def test_a_wait_that_was_refused_can_be_tried_again(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer, world = sides()
    direction = SyncFileToConsumer(producer, consumer)
    value = submit(producer, direction)
    with monkeypatch.context() as broken:
        if step == "import":
            consumer.fail_import = True
        else:
            broken.setattr(doubles.External, "wait", refuse)
        for _ in range(2):
            with pytest.raises((DriverError, MemoryError)):
                direction.wait(consumer.stream, value)
        assert not world.consumer_queue
    consumer.fail_import = False
    assert direction.wait(consumer.stream, value) == value
    assert [each.name for each in world.consumer_queue] == ["consumer waits"]
    assert direction.wait(consumer.stream, value) == value, "nothing more to wait for"
    assert len(world.consumer_queue) == 1
    world.settle()
    direction.close()
    assert world.open_objects == 1


@pytest.mark.parametrize("taken", [False, True])
def test_a_signal_that_nobody_waited_for_is_given_back(
    taken: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A later signal of the queue covers it, also where it was imported and its wait refused."""
    producer, consumer, world = sides()
    direction = SyncFileToConsumer(producer, consumer)
    for number in range(1, 5):
        assert submit(producer, direction) == number
        assert world.open_objects == 3, "the progress, the semaphore, the last sync file"
        if taken:
            with monkeypatch.context() as broken, pytest.raises(DriverError):
                broken.setattr(doubles.External, "wait", refuse)
                direction.wait(consumer.stream, number)
    world.settle()
    assert direction.wait(consumer.stream, 2) == 4
    submit(producer, direction)
    direction.close()
    direction.close()
    assert world.open_objects == 1


@pytest.mark.parametrize("step", ["signal", "export_semaphore", "import_semaphore"])
def test_a_signal_that_was_not_handed_over_is_given_anew(step: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """By another semaphore: the first may be signalled, and must then not be signalled again."""
    producer, consumer, world = sides()
    direction = SyncFileToProducer(producer, consumer)
    submission = producer.prepare(wait=direction.done)
    with monkeypatch.context() as broken, pytest.raises(DriverError):
        broken.setattr(doubles.OneShot, step, refuse)
        direction.signal(consumer.stream)
    submission.submit(direction.signal(consumer.stream))
    world.settle()
    assert not world.producer_queue
    submission.close()
    direction.close()
    direction.close()
    assert world.open_objects == 1


def test_a_direction_that_cannot_be_made_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    producer, consumer, world = sides()
    monkeypatch.setattr(producer, "create_importing_semaphore", refuse, raising=False)
    with pytest.raises(DriverError):
        SyncFileToProducer(producer, consumer)
    assert world.open_objects == 1
    assert SyncFileToConsumer(producer, consumer).ready.kind is SemaphoreKind.BINARY
