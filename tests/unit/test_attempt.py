"""Falling through: what a driver refuses is vetoed with its words, and nothing is tried with a handle that went."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import doubles
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop.links._verify import settle
from interop.negotiation import MemoryPath, Plan, Strategy, negotiate
from interop.protocols import (
    Capabilities,
    DeviceIdentity,
    DeviceInfo,
    DriverError,
    Handle,
    HandleError,
    HandleType,
    MatchKey,
    MemoryDescriptor,
    NoCommonHandleType,
    SemaphoreDescriptor,
    SemaphoreKind,
    Unsupported,
)

if TYPE_CHECKING:
    from interop.protocols import InteropError

TYPES = frozenset({HandleType.OPAQUE_FD, HandleType.DMA_BUF})
FD = frozenset({HandleType.OPAQUE_FD})
PRODUCER = DeviceInfo(
    backend="p",
    index=0,
    name="p",
    identity=DeviceIdentity(),
    capabilities=Capabilities(
        memory_export=TYPES, semaphore_export=dict.fromkeys(SemaphoreKind, FD), host_timeline=True
    ),
)
CONSUMER = DeviceInfo(
    backend="c",
    index=0,
    name="c",
    identity=DeviceIdentity(),
    capabilities=Capabilities(
        memory_import=TYPES,
        semaphore_import=dict.fromkeys(SemaphoreKind, FD),
        stream_hold="hold",
        stream_notify="notify",
    ),
)
EVERY = [
    (HandleType.OPAQUE_FD, "memory"),
    (HandleType.DMA_BUF, "memory"),
    *((HandleType.OPAQUE_FD, kind.value) for kind in SemaphoreKind),
]


class Thing:
    """Something that is opened and closed, counted; stands for buffers, semaphores and imports."""

    live = 0

    def __init__(self, purpose: str, handle_type: HandleType) -> None:
        self.purpose, self.handle_type = purpose, handle_type
        Thing.live += 1

    def export_memory(self) -> tuple[Handle, MemoryDescriptor]:
        handle = Handle.adopt(os.memfd_create("thing"), self.handle_type)
        return handle, MemoryDescriptor(allocation_size=1, size=1, handle_type=self.handle_type)

    def export_semaphore(self) -> tuple[Handle, SemaphoreDescriptor]:
        handle = Handle.adopt(os.memfd_create("thing"), self.handle_type)
        return handle, SemaphoreDescriptor(kind=SemaphoreKind(self.purpose), handle_type=self.handle_type)

    def close(self) -> None:
        Thing.live -= 1


class Drivers:
    """Producer and consumer in one: refuses what it is told to, where it is told to, and remembers what was tried."""

    def __init__(self, refused: set[tuple[HandleType, str]], where: str, error: InteropError) -> None:
        self.refused, self.where, self.error = refused, where, error
        self.tried: list[tuple[HandleType, str]] = []
        self.consumes = False

    def _pass(self, where: str, handle_type: HandleType, purpose: str) -> None:
        if where == self.where and (handle_type, purpose) in self.refused:
            raise self.error

    def create_buffer(self, size: int, *, export: HandleType) -> Thing:
        assert size > 0
        self.tried.append((export, "memory"))
        self._pass("create", export, "memory")
        return Thing("memory", export)

    def create_semaphore(self, kind: SemaphoreKind, *, export: HandleType) -> Thing:
        self.tried.append((export, kind.value))
        self._pass("create", export, kind.value)
        return Thing(kind.value, export)

    def import_memory(self, handle: Handle, descriptor: MemoryDescriptor) -> Thing:
        return self._import(handle, descriptor.handle_type, "memory")

    def import_semaphore(self, handle: Handle, descriptor: SemaphoreDescriptor) -> Thing:
        return self._import(handle, descriptor.handle_type, descriptor.kind.value)

    def _import(self, handle: Handle, handle_type: HandleType, purpose: str) -> Thing:
        if self.consumes:
            handle.close()
        self._pass("import", handle_type, purpose)
        handle.close()
        return Thing(purpose, handle_type)


def decide(drivers: Any, *, memory: bool = True, semaphores: bool = True, **asked: Any) -> Plan:
    choose = partial(negotiate, PRODUCER, CONSUMER, MatchKey.UUID, **asked)
    return settle(choose, lambda *_: None, drivers, drivers, memory=memory, semaphores=semaphores)


@pytest.mark.usefixtures("nothing_left_behind")
@pytest.mark.parametrize("where", ["create", "import"])
@pytest.mark.parametrize("error", [DriverError("f", 7, "SEVEN"), HandleError("seven"), Unsupported("seven")])
def test_each_failed_candidate_is_a_reason(where: str, error: InteropError) -> None:
    refused = {(HandleType.OPAQUE_FD, "memory"), (HandleType.OPAQUE_FD, "timeline")}
    drivers = Drivers(refused, where, error)
    plan = decide(drivers)
    assert plan.handle_type is HandleType.DMA_BUF
    assert plan.to_consumer.kind is plan.to_producer.kind is SemaphoreKind.BINARY
    reasons = {rejection.candidate: rejection.reason for rejection in plan.rejected}
    assert reasons["memory by opaque_fd"] == f"tried, and failed: {error}"
    assert f"tried, and failed: {error}" in reasons["native timeline semaphore, to consumer"]
    assert drivers.tried.count((HandleType.OPAQUE_FD, "memory")) == 1
    assert Thing.live == 0


@given(refused=st.sets(st.sampled_from(EVERY)), where=st.sampled_from(["create", "import"]))
def test_what_comes_of_it_works(refused: set[tuple[HandleType, str]], where: str) -> None:
    """The best of what is not refused, each candidate tried once, nothing left open."""
    drivers = Drivers(refused, where, DriverError("f", 7))
    plan = decide(drivers)
    best = next((each for each in EVERY[:2] if each not in refused), None)
    assert plan.handle_type is (best[0] if best else None)
    if best is None:
        assert plan.path is MemoryPath.STAGED
    elif (HandleType.OPAQUE_FD, "timeline") not in refused:
        assert plan.to_consumer.kind is SemaphoreKind.TIMELINE
    elif (HandleType.OPAQUE_FD, "binary") not in refused:
        assert plan.to_consumer.kind is SemaphoreKind.BINARY
    else:
        assert plan.to_consumer.strategy is Strategy.BRIDGED
    assert len(set(drivers.tried)) == len(drivers.tried)
    assert Thing.live == 0


def test_no_other_candidate_is_tried_once_a_handle_has_gone() -> None:
    drivers = Drivers({(HandleType.OPAQUE_FD, "memory")}, "import", DriverError("f", 7))
    drivers.consumes = True
    with pytest.raises(DriverError):
        decide(drivers)
    assert drivers.tried == [(HandleType.OPAQUE_FD, "memory")]
    assert Thing.live == 0


def test_other_errors_do_not_fall_through() -> None:
    error: Any = MemoryError()
    with pytest.raises(MemoryError):
        decide(Drivers({(HandleType.OPAQUE_FD, "memory")}, "import", error))
    assert Thing.live == 0


def test_nothing_left_is_a_refusal_with_every_reason() -> None:
    drivers = Drivers(set(EVERY), "import", DriverError("f", 7, "SEVEN"))
    with pytest.raises(NoCommonHandleType) as caught:
        decide(drivers, path="zero-copy")
    assert sum("SEVEN" in reason for reason in caught.value.reasons) == 2


def test_what_was_forced_is_not_tried() -> None:
    drivers = Drivers(set(EVERY), "import", DriverError("f", 7))
    decide(drivers, memory=False, semaphores=False, handle_type="opaque_fd", sync="native")
    assert drivers.tried == []


@pytest.mark.parametrize("refusing", ["producer", "consumer"])
def test_sync_files_are_tried_with_a_signal_that_is_on_its_way(
    refusing: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each direction by itself; one that fails is a reason, and nothing of either stays open."""
    world = doubles.World()
    left, right = doubles.one_shot_infos()
    sides = doubles.Producer(world, left), doubles.Consumer(world, right)
    choose = partial(negotiate, left, right, MatchKey.UUID)

    def settled() -> Plan:
        return settle(choose, lambda *_: None, *sides, memory=False, semaphores=True)  # type: ignore[arg-type]

    plan = settled()
    assert plan.to_consumer.handle_type is plan.to_producer.handle_type is HandleType.SYNC_FD
    world.settle()
    assert (world.open_objects, world.producer_queue, world.consumer_queue) == (1, [], [])

    def refuse(*_: object) -> None:
        raise DriverError("f", 7, "SEVEN")

    into = doubles.OneShot if refusing == "producer" else doubles.Consumer
    monkeypatch.setattr(into, "import_semaphore", refuse)
    plan = settled()
    assert plan.to_consumer.strategy is plan.to_producer.strategy is Strategy.BRIDGED
    assert plan.explain().count("sync_fd: tried, and failed: f ") == 2
    assert world.open_objects == 1


def test_sides_that_say_more_than_they_have_are_passed_over() -> None:
    """Capabilities with sync files, and no method to hand one out or to take one in."""
    world = doubles.World()
    left, right = doubles.one_shot_infos(out=False)

    class Bare:
        """A side with none of the methods for it."""

    for lacking in ("producer", "consumer"):
        sides: list[Any] = [doubles.Producer(world, left), doubles.Consumer(world, right)]
        bare = Bare()
        vars(bare)["device"] = left if lacking == "producer" else right
        sides[lacking == "consumer"] = bare
        choose = partial(negotiate, left, right, MatchKey.UUID)
        plan = settle(choose, lambda *_: None, *sides, memory=False, semaphores=True)
        assert plan.to_producer.strategy is Strategy.BRIDGED
        assert f"the {bare.device.backend} {lacking} has no create" in plan.explain()  # type: ignore[attr-defined]
