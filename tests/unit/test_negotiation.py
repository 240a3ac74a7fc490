"""Negotiation picks the best that both sides offer, and explains the rest."""

from __future__ import annotations

from dataclasses import replace

import doubles
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import (
    DeviceIdentity,
    DeviceMismatch,
    HandleType,
    InvalidArgument,
    MemoryPath,
    NoCommonHandleType,
    NoCommonSync,
    Strategy,
)
from interop.negotiation import matching_devices, negotiate, select_devices
from interop.protocols import Capabilities, MatchKey, PciAddress, SemaphoreKind

PRODUCER, CONSUMER = doubles.producer_info(), doubles.consumer_info()
BINARY_ONLY = (SemaphoreKind.BINARY,)


def test_the_best_is_zero_copy_with_a_shared_timeline() -> None:
    plan = negotiate(PRODUCER, CONSUMER, MatchKey.UUID)
    assert plan.path is MemoryPath.ZERO_COPY
    assert plan.handle_type is HandleType.OPAQUE_FD
    assert plan.to_consumer.strategy is plan.to_producer.strategy is Strategy.NATIVE
    assert plan.to_consumer.kind is SemaphoreKind.TIMELINE
    assert "by uuid" in plan.explain()


@pytest.mark.parametrize(
    ("left", "right", "strategy", "kind"),
    [
        (doubles.BOTH, BINARY_ONLY, Strategy.NATIVE, SemaphoreKind.BINARY),
        (BINARY_ONLY, doubles.BOTH, Strategy.NATIVE, SemaphoreKind.BINARY),
        (doubles.BOTH, (), Strategy.BRIDGED, None),
        ((), doubles.BOTH, Strategy.BRIDGED, None),
    ],
)
def test_the_strategy_follows_the_semaphores(
    left: tuple[SemaphoreKind, ...],
    right: tuple[SemaphoreKind, ...],
    strategy: Strategy,
    kind: SemaphoreKind | None,
) -> None:
    plan = negotiate(doubles.producer_info(left), doubles.consumer_info(right), MatchKey.UUID)
    assert plan.to_consumer.strategy is plan.to_producer.strategy is strategy
    assert plan.to_consumer.kind is kind
    if strategy is Strategy.BRIDGED:
        assert any("native timeline" in rejection.candidate for rejection in plan.rejected)


def test_each_direction_is_negotiated_by_itself() -> None:
    capabilities = replace(CONSUMER.capabilities, semaphore_import={}, stream_hold="")
    plan = negotiate(PRODUCER, replace(CONSUMER, capabilities=capabilities), MatchKey.UUID)
    assert plan.to_consumer.strategy is Strategy.BLOCKING
    assert plan.to_producer.strategy is Strategy.BRIDGED


@pytest.mark.parametrize(
    ("out", "back", "expected"),
    [
        (True, True, ["native (binary, sync_fd)", "native (binary, sync_fd)"]),
        (True, False, ["native (binary, sync_fd)", "bridged (notify)"]),
        (False, True, ["bridged (hold)", "native (binary, sync_fd)"]),
    ],
)
def test_sync_files_are_negotiated_for_each_direction(*, out: bool, back: bool, expected: list[str]) -> None:
    plan = negotiate(*doubles.one_shot_infos(out=out, back=back), MatchKey.UUID)
    assert [str(plan.to_consumer), str(plan.to_producer)] == expected
    assert all(f" {each}" in plan.explain() for each in expected)


def test_a_reusable_semaphore_goes_before_sync_files_and_they_before_a_bridge() -> None:
    left, right = doubles.one_shot_infos()
    binary = {SemaphoreKind.BINARY: frozenset({HandleType.OPAQUE_FD, HandleType.SYNC_FD})}
    left = replace(left, capabilities=replace(left.capabilities, semaphore_export=binary))
    right = replace(right, capabilities=replace(right.capabilities, semaphore_import=binary))
    assert negotiate(left, right, MatchKey.UUID).to_consumer.handle_type is HandleType.OPAQUE_FD

    def veto(_producer: object, _consumer: object, handle_type: HandleType, _purpose: str) -> str | None:
        return "loses signals" if handle_type is HandleType.OPAQUE_FD else None

    with pytest.raises(NoCommonHandleType):
        negotiate(left, right, MatchKey.UUID, veto=veto, path="zero-copy")
    memory = frozenset({HandleType.DMA_BUF})
    left = replace(left, capabilities=replace(left.capabilities, memory_export=memory))
    right = replace(right, capabilities=replace(right.capabilities, memory_import=memory))
    plan = negotiate(left, right, MatchKey.UUID, veto=veto)
    assert plan.to_consumer.handle_type is plan.to_producer.handle_type is HandleType.SYNC_FD
    assert "native binary semaphore, to consumer: opaque_fd: loses signals" in plan.explain()


def test_sync_files_that_only_one_side_knows_are_a_reason() -> None:
    left, right = doubles.one_shot_infos()
    right = replace(right, capabilities=replace(right.capabilities, semaphore_import={}, semaphore_export={}))
    plan = negotiate(left, right, MatchKey.UUID)
    assert plan.to_consumer.strategy is plan.to_producer.strategy is Strategy.BRIDGED
    reasons = {rejection.candidate: rejection.reason for rejection in plan.rejected}
    assert "sync_fd: double does not import it" in reasons["native binary semaphore, to consumer"]
    assert "sync_fd: double does not export it" in reasons["native binary semaphore, to producer"]


def test_sync_files_do_not_leave_their_process() -> None:
    with pytest.raises(NoCommonSync, match="links between processes do not send it"):
        negotiate(*doubles.one_shot_infos(), MatchKey.UUID, sync="native", apart=True)


def test_memory_that_no_one_can_carry_is_staged_with_the_reason() -> None:
    consumer = replace(CONSUMER, capabilities=Capabilities(notes=("this driver has no external memory",)))
    plan = negotiate(PRODUCER, consumer, MatchKey.UUID)
    assert plan.path is MemoryPath.STAGED
    assert plan.handle_type is None
    assert "no external memory" in plan.explain()
    with pytest.raises(NoCommonHandleType, match="no external memory"):
        negotiate(PRODUCER, consumer, MatchKey.UUID, path="zero-copy")
    with pytest.raises(NoCommonSync):
        negotiate(PRODUCER, consumer, MatchKey.UUID, sync="native")


def test_a_forced_strategy_that_cannot_be_says_why() -> None:
    consumer = replace(CONSUMER, capabilities=replace(CONSUMER.capabilities, semaphore_import={}))
    with pytest.raises(NoCommonSync, match="does not import it"):
        negotiate(PRODUCER, consumer, MatchKey.UUID, sync="native")


def test_a_veto_rules_out_with_its_reason() -> None:
    def veto(_producer: object, _consumer: object, _handle_type: object, purpose: str) -> str | None:
        return "known to corrupt" if purpose == "timeline" else None

    plan = negotiate(PRODUCER, CONSUMER, MatchKey.UUID, veto=veto)
    assert plan.to_consumer.kind is SemaphoreKind.BINARY
    assert "known to corrupt" in plan.explain()


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"sync": "magic"}, "sync must be one of 'auto', 'native', 'bridged', 'blocking', got 'magic'"),
        ({"sync": None}, "sync must be one of .* got None"),
        ({"path": "speed"}, "path must be one of 'zero-copy', 'staged', got 'speed'"),
        ({"handle_type": "fd"}, "handle_type must be one of 'opaque_fd', 'dma_buf', .* got 'fd'"),
        ({"handle_type": "sync_fd"}, "handle_type must be one of 'opaque_fd', .* got 'sync_fd'"),
        ({"handle_type": "dma_buf", "path": "staged"}, "'dma_buf' excludes path='staged'"),
    ],
)
def test_words_that_do_not_exist_are_refused(bad: dict[str, str], words: str) -> None:
    with pytest.raises(InvalidArgument, match=words):
        negotiate(PRODUCER, CONSUMER, MatchKey.UUID, **bad)  # type: ignore[arg-type]


def test_a_refusal_lists_reasons_of_its_own_kind() -> None:
    """No refused strategy lists what memory lacks, and no refused path lists what semaphores lack."""
    producer, consumer = (
        replace(
            each,
            capabilities=replace(
                each.capabilities,
                semaphore_import={},
                semaphore_export={},
                notes=("no external memory",),
                semaphore_notes=("no external semaphores",),
            ),
        )
        for each in (PRODUCER, CONSUMER)
    )
    with pytest.raises(NoCommonSync) as refused:
        negotiate(producer, consumer, MatchKey.UUID, sync="native")
    assert "no external semaphores" in refused.value.reasons
    assert not any("memory" in reason for reason in refused.value.reasons)
    alone = replace(consumer, capabilities=replace(consumer.capabilities, memory_import=frozenset()))
    with pytest.raises(NoCommonHandleType) as staged:
        negotiate(producer, alone, MatchKey.UUID, path="zero-copy")
    assert "zero-copy: no external memory" in staged.value.reasons
    assert not any("semaphore" in reason for reason in staged.value.reasons)


def test_the_matching_pair_is_chosen_hardware_first() -> None:
    software = replace(PRODUCER, software=True, identity=DeviceIdentity(uuid=b"s" * 16))
    left = [software, replace(PRODUCER, index=1)]
    right = [
        replace(CONSUMER, identity=DeviceIdentity(uuid=b"s" * 16), software=True),
        replace(CONSUMER, index=1),
    ]
    assert select_devices(left, right) == (left[1], right[1], MatchKey.UUID)
    assert select_devices(left, right, producer_choice=0) == (left[0], right[0], MatchKey.UUID)


def test_devices_that_are_not_one_are_refused_by_name() -> None:
    other = replace(CONSUMER, identity=DeviceIdentity(uuid=b"o" * 16), name="the other")
    with pytest.raises(DeviceMismatch) as caught:
        select_devices([PRODUCER], [other])
    assert doubles.UUID.hex() in str(caught.value)
    assert "the other" in str(caught.value)
    assert (
        select_devices([PRODUCER], [other], producer_choice=0, consumer_choice="other")[2] is MatchKey.CHOICE
    )
    assert select_devices([PRODUCER], [other], allow_mismatch=True)[2] is None


def test_no_choice_makes_one_of_two_slots() -> None:
    """Two GPUs of one maker are told apart by where they sit, whoever says otherwise."""
    left = replace(PRODUCER, identity=DeviceIdentity(uuid=b"a" * 16, pci=PciAddress(0, 1, 0, 0)))
    right = replace(CONSUMER, identity=DeviceIdentity(uuid=b"b" * 16, pci=PciAddress(0, 2, 0, 0)))
    with pytest.raises(DeviceMismatch, match="pci differs"):
        select_devices([left], [right], producer_choice=0, consumer_choice=0)
    assert (
        select_devices([left], [right], producer_choice=0, consumer_choice=0, allow_mismatch=True)[2] is None
    )


def test_a_consumer_on_the_host_needs_no_match() -> None:
    host = replace(CONSUMER, identity=DeviceIdentity(host="here"))
    assert select_devices([PRODUCER], [host])[2] is None
    plan = negotiate(PRODUCER, host, None)
    assert plan.path is MemoryPath.STAGED


def test_a_choice_that_fits_nothing_lists_the_devices() -> None:
    for choice in (7, np.int64(7), "no such device"):
        with pytest.raises(InvalidArgument, match=r"no device fits .*double"):
            select_devices([PRODUCER], [CONSUMER], producer_choice=choice)


@pytest.mark.parametrize("choice", [1.0, True, b"double", ("double",)])
def test_a_choice_that_is_neither_a_number_nor_text_is_refused(choice: object) -> None:
    with pytest.raises(InvalidArgument, match=r"the choice of a device.*must be an integer"):
        matching_devices([PRODUCER], choice)  # type: ignore[arg-type]


def test_devices_fit_a_number_or_a_part_of_their_text() -> None:
    second = replace(PRODUCER, index=1, name="Another GPU")
    both = [PRODUCER, second]
    assert matching_devices(both, None) == both
    assert matching_devices(both, np.uint8(1)) == matching_devices(both, "another") == [second]
    assert matching_devices(both, doubles.UUID.hex()) == both
    with pytest.raises(InvalidArgument, match="one of: none"):
        matching_devices([], None)


types = st.frozensets(st.sampled_from(list(HandleType)))
kinds = st.dictionaries(st.sampled_from(list(SemaphoreKind)), types)
capabilities = st.builds(
    Capabilities,
    memory_import=types,
    memory_export=types,
    semaphore_import=kinds,
    semaphore_export=kinds,
    host_timeline=st.booleans(),
    stream_hold=st.sampled_from(["", "hold"]),
    stream_notify=st.sampled_from(["", "notify"]),
)


@given(capabilities, capabilities, st.sampled_from(["auto", *Strategy]))
def test_a_plan_holds_only_what_both_sides_offer(left: Capabilities, right: Capabilities, sync: str) -> None:
    producer, consumer = replace(PRODUCER, capabilities=left), replace(CONSUMER, capabilities=right)
    try:
        plan = negotiate(producer, consumer, MatchKey.UUID, sync=sync)
    except NoCommonSync:
        assert sync != "auto"
        return
    if plan.handle_type is not None:
        assert plan.handle_type in left.memory_export & right.memory_import
    for direction, hold in ((plan.to_consumer, right.stream_hold), (plan.to_producer, right.stream_notify)):
        assert sync in ("auto", direction.strategy)
        if direction.strategy is Strategy.NATIVE:
            assert direction.kind is not None
            out, into = left, right
            if direction.handle_type is HandleType.SYNC_FD and direction is plan.to_producer:
                out, into = right, left
            assert direction.handle_type in out.exportable(direction.kind) & into.importable(direction.kind)
        elif direction.strategy is Strategy.BRIDGED:
            assert left.host_timeline
            assert hold
