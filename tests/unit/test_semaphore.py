"""Values of waits and signals are checked before a driver hangs on them."""

from __future__ import annotations

import pytest

from interop import Handle, HandleError, HandleType, SemaphoreDescriptor, SemaphoreKind, TurnError
from interop.semaphore import ValueRule, check_import


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
        check_import(handle, described, frozenset())
