"""Values of waits and signals are checked before a driver hangs on them."""

from __future__ import annotations

import contextlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import Handle, HandleError, HandleType, TurnError
from interop.protocols import SemaphoreDescriptor, SemaphoreKind
from interop.toolkit import ValueRule, check_import_semaphore


def test_binary_takes_no_value() -> None:
    rule = ValueRule(SemaphoreKind.BINARY)
    assert rule.check_wait(None) == rule.check_signal(None) == 0
    for check in (rule.check_wait, rule.check_signal):
        with pytest.raises(TurnError, match="binary"):
            check(1)


def test_a_timeline_needs_values_that_grow() -> None:
    rule = ValueRule(SemaphoreKind.TIMELINE)
    assert rule.check_signal(1) == 1
    assert rule.check_signal(2**64 - 1) == 2**64 - 1
    for value in (None, 0, 1, 2**64 - 1, 2**64, -1):
        with pytest.raises(TurnError):
            rule.check_signal(value)


@pytest.mark.parametrize("value", [None, -1, 2**64])
def test_a_timeline_wait_needs_a_value(value: int | None) -> None:
    with pytest.raises(TurnError):
        ValueRule(SemaphoreKind.TIMELINE).check_wait(value)


def test_a_refused_signal_does_not_count() -> None:
    rule = ValueRule(SemaphoreKind.TIMELINE)
    rule.check_signal(5)
    with pytest.raises(TurnError):
        rule.check_signal(4)
    assert rule.check_signal(6) == 6


def test_a_kind_that_cannot_be_imported_is_named() -> None:
    described = SemaphoreDescriptor(kind=SemaphoreKind.TIMELINE, handle_type=HandleType.SYNC_FD)
    with (
        Handle.adopt(-1, HandleType.SYNC_FD) as handle,
        pytest.raises(HandleError, match="timeline semaphore"),
    ):
        check_import_semaphore(handle, described, frozenset())


FDS = [each for each in HandleType if each.is_fd]


@given(
    st.sampled_from(list(SemaphoreKind)),
    st.sampled_from(FDS),
    st.sampled_from(FDS),
    st.frozensets(st.sampled_from(list(HandleType))),
    st.booleans(),
)
def test_a_handle_is_taken_as_it_is_described_and_supported_or_refused(
    kind: SemaphoreKind,
    given_as: HandleType,
    described: HandleType,
    supported: frozenset[HandleType],
    gone: bool,
) -> None:
    handle = Handle(os.eventfd(0), given_as)
    if gone:
        os.close(handle.value)
    right = given_as is described and described in supported and not gone
    with contextlib.nullcontext() if right else pytest.raises(HandleError):
        check_import_semaphore(handle, SemaphoreDescriptor(kind=kind, handle_type=described), supported)
    assert not handle.closed  # a check consumes nothing
    if gone:
        handle.detach()
    handle.close()


@given(st.sampled_from(list(SemaphoreKind)), st.lists(st.none() | st.integers(-(2**65), 2**65)))
def test_any_row_of_values_is_legal_or_refused_and_a_refused_one_changes_nothing(
    kind: SemaphoreKind, values: list[int | None]
) -> None:
    rule, last = ValueRule(kind), 0
    for value in values:
        binary = kind is SemaphoreKind.BINARY
        right = value is None if binary else value is not None and last < value < 2**64
        with contextlib.nullcontext() if right else pytest.raises(TurnError):
            assert rule.check_signal(value) == (value or 0)
            last = value or 0
        waited = value is None if binary else value is not None and 0 <= value < 2**64
        with contextlib.nullcontext() if waited else pytest.raises(TurnError):
            assert rule.check_wait(value) == (value or 0)
