"""Objects are released once, by close or with a warning, and never where that could harm."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import warnings
import weakref
from typing import TYPE_CHECKING, Any, ClassVar

import pytest

from interop.protocols import ClosedError, DriverError, Handle, HandleType
from interop.toolkit import Children, Resource, adopt, undo_all

if TYPE_CHECKING:
    from collections.abc import Callable

AT_THE_END = """
import os, sys
from interop.protocols import Handle, HandleType
from interop.toolkit import Resource

kept = Resource("a thing", print, "released")
Resource.anywhere = [Resource("a thing of a module", print, "released")]
handle = Handle(os.open(os.devnull, os.O_RDONLY), HandleType.OPAQUE_FD)
sys.modules["kept"] = [kept, handle]
print("end")
"""

IN_A_CHILD = """
import os
from interop.toolkit import Resource

class Argument:
    def __del__(self):
        print("destroyed", flush=True)

dropped = Resource("dropped", print, Argument())
closed = Resource("closed", print, "closed")
if os.fork() == 0:
    del dropped
    closed.close()
    Resource("own", print, "child").close()
    os.sys.stdout.flush()
    os._exit(0)
os.wait()
print("parent", flush=True)
os._exit(0)
"""


def nothing() -> None:
    """Release what needs no release."""


def take(_: object) -> None:
    """Release what needs no release."""


class Token:
    """Something that a weak reference can watch."""


class Silent(Resource):
    may_be_dropped: ClassVar[bool] = True


def test_it_is_released_once_by_close() -> None:
    released: list[str] = []
    owned = Resource("a thing", released.append, "it")
    owned.check_open()
    owned.close()
    owned.close()
    assert owned.closed
    assert released == ["it"]
    with pytest.raises(ClosedError, match="a thing was used after close"):
        owned.check_open()


def test_dropping_it_releases_it_with_a_warning() -> None:
    released: list[str] = []
    owned = Resource("a thing", released.append, "it")
    with pytest.warns(ResourceWarning, match="unclosed a thing"):
        del owned
    silent = Silent("another", released.append, "another")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del silent
    assert released == ["it", "another"]


def test_a_release_that_fails_warns_where_nobody_can_catch_it() -> None:
    def fail() -> None:
        raise DriverError("free", 3)

    silent = Silent("a thing", fail)
    with pytest.warns(ResourceWarning, match="releasing a thing failed: free"):
        del silent
    with pytest.raises(DriverError):
        Resource("a thing", fail).close()


def test_what_was_closed_dies_without_a_line_of_python() -> None:
    """A Ctrl-C in such a line would be lost, as nobody is there to catch it."""
    objects: list[Any] = [Resource("a thing", nothing), Handle(0, HandleType.HOST_ALLOCATION)]
    objects[0].close()
    objects[1].close()
    seen: list[str] = []

    def look(frame: Any, _event: str, _argument: object) -> None:
        seen.append(frame.f_code.co_qualname)

    before = sys.gettrace()
    sys.settrace(look)
    objects.clear()
    sys.settrace(before)
    assert not seen


def test_nothing_is_kept_of_what_has_ended() -> None:
    kept: list[Any] = [object.__new__(Token) for _ in range(2)]
    ends = [weakref.ref(each) for each in kept]
    Resource("a thing", take, kept.pop()).close()
    Silent("a thing", take, kept.pop())
    gc.collect()
    assert [end() for end in ends] == [None, None]
    children = Children()
    for _ in range(100):
        children.add(Silent("a thing", nothing))
    assert not children._alive


def test_an_object_that_was_not_made_may_be_closed_and_dropped() -> None:
    class Failing(Resource):
        def __init__(self) -> None:
            raise DriverError("make", 1)

    half = Failing.__new__(Failing)
    half.close()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del half
        with pytest.raises(DriverError):
            Failing()


def test_in_a_cycle_a_release_still_has_what_it_needs() -> None:
    """Also what leads back to the object, though nothing but the cycle holds it."""
    released: list[object] = []

    class Driver:
        def free(self, thing: str) -> None:
            released.append((self.name, thing))

        def __init__(self) -> None:
            self.name = "driver"

    class Loop(Resource):
        def __init__(self, thing: str) -> None:
            driver = Driver()
            super().__init__(thing, driver.free, thing)
            self.__dict__.update(me=self, driver=driver)

    for thing in ("one", "two"):
        Loop(thing)
    with pytest.warns(ResourceWarning, match="unclosed"):
        gc.collect()
    assert sorted(released, key=str) == [("driver", "one"), ("driver", "two")]


def test_threads_that_close_at_once_release_once() -> None:
    released: list[int] = []
    things = [Resource("a thing", released.append, number) for number in range(500)]
    start = threading.Barrier(4)

    def work() -> None:
        start.wait()
        for thing in things:
            thing.close()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(released) == list(range(500))


def test_nothing_is_released_when_the_interpreter_ends() -> None:
    """Drivers may have gone by then; the system takes everything back."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", AT_THE_END],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "end\n", "")


def test_children_are_closed_last_made_first_and_all_of_them() -> None:
    order: list[int] = []

    def release(number: int) -> None:
        order.append(number)
        if number == 1:
            raise DriverError("free", number)

    children = Children()
    kept = [children.add(Resource("a thing", release, number)) for number in range(4)]
    kept.pop(2).close()
    with pytest.raises(DriverError):
        children.close()
    assert order == [2, 3, 1, 0]
    children.close()
    assert all(each.closed for each in kept)


def test_steps_are_taken_back_last_first_though_one_fails() -> None:
    order: list[int] = []

    def step(number: int) -> Callable[[], None]:
        def run() -> None:
            order.append(number)
            if number == 1:
                raise DriverError("free", number)

        return run

    with pytest.raises(DriverError):
        undo_all([step(0), step(1), step(2)])
    assert order == [2, 1, 0]


def test_a_block_closes_it() -> None:
    released: list[str] = []
    with Resource("a thing", released.append, "it") as held:
        assert not released
    assert (released, held.closed) == (["it"], True)
    with pytest.raises(ClosedError), held:
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
def test_an_interrupt_comes_before_or_after_an_adoption() -> None:
    owners: list[Resource] = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it

    def make() -> str:
        signal.raise_signal(signal.SIGINT)
        return "it"

    def own(it: str) -> Resource:
        owners.append(Silent(it, nothing))
        return owners[0]

    try:
        with pytest.raises(KeyboardInterrupt):
            adopt(make, own)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(owners) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
def test_a_child_releases_nothing_of_its_parent() -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IN_A_CHILD],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "child\nparent\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="descriptors")
def test_a_handle_in_a_cycle_is_closed_with_a_warning() -> None:
    read, write = os.pipe()
    os.close(write)
    loop: list[object] = [Handle(read, HandleType.OPAQUE_FD)]
    loop.append(loop)
    del loop
    with pytest.warns(ResourceWarning, match=f"unclosed opaque_fd handle {read}"):
        gc.collect()
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.fstat(read)
