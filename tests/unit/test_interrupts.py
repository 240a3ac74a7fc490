"""An interrupt waits for the end of what must be done whole; forks are counted."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from interop.protocols import ClosedError, Unsupported
from interop.toolkit import Deferred, Resource, forks

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(autouse=True)
def pythons_own_handler() -> Iterator[None]:
    """Have SIGINT raise, as at a terminal; a shell's background jobs start with it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_an_interrupt_waits_for_the_end_of_the_block() -> None:
    done = False
    with pytest.raises(KeyboardInterrupt), Deferred() as outer:
        with Deferred() as inner:
            signal.raise_signal(signal.SIGINT)
            assert inner.pending
            done = True
        assert outer.pending
    assert done
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_without_an_interrupt_nothing_happens() -> None:
    with Deferred() as block:
        pass
    assert not block.pending
    with pytest.raises(ZeroDivisionError), Deferred():
        raise ZeroDivisionError
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_an_interrupt_after_an_error_keeps_the_error_in_sight() -> None:
    with pytest.raises(KeyboardInterrupt) as caught, Deferred():
        signal.raise_signal(signal.SIGINT)
        raise ZeroDivisionError
    assert isinstance(caught.value.__context__, ZeroDivisionError)


def test_signals_that_python_does_not_handle_stay_as_they_are() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Deferred() as block:
            signal.raise_signal(signal.SIGINT)
            assert not block.pending
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_leave_the_handler_alone() -> None:
    seen: list[object] = []

    def run() -> None:
        with Deferred():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    assert seen == [signal.default_int_handler]


def in_child(body: Callable[[], bool]) -> bool:
    """Whether ``body`` is true in a forked child."""
    child = os.fork()
    if child == 0:
        right = False
        try:
            right = body()
        finally:
            os._exit(0 if right else 1)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_forked_child_releases_nothing_of_its_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    released: list[str] = []
    kept, dropped = (
        Resource("a thing", released.append, "kept"),
        [Resource("another", released.append, "dropped")],
    )

    def child() -> bool:
        dropped.clear()
        kept.close()
        own = Resource("a thing of the child", released.append, "own")
        own.close()
        with pytest.raises(ClosedError):
            kept.check_open()
        return released == ["own"]

    assert in_child(child)
    dropped.pop().close()
    kept.close()
    assert released == ["dropped", "kept"]


@pytest.mark.skipif(sys.platform == "win32", reason="no fork")
def test_a_child_may_connect_where_its_parent_has_not(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> bool:
        with pytest.raises(Unsupported, match="forked child"):
            forks.check_connect()
        return True

    def allowed() -> bool:
        forks.check_connect()
        return True

    monkeypatch.setattr(forks, "_opened", None)
    assert in_child(allowed)
    forks.check_connect()
    forks.check_connect()
    assert in_child(refused)
