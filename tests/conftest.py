"""Software drivers for every test that opens a driver, and nothing left behind by any of them.

Tests may run in several workers (pytest-xdist). One marked ``alone`` then has the machine for itself.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import software

from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

LOCKS = pytest.StashKey[Path]()
"""The folder of the locks that the workers of one run share."""


def pytest_configure(config: pytest.Config) -> None:
    """Point the loaders at the software drivers before anything opens one; hardware keeps its own."""
    os.environ.setdefault(
        "PYOPENCL_NO_CACHE", "1"
    )  # a kernel of an earlier run must not hide a compiler that fails
    software.activate.activate()
    worker = getattr(config, "workerinput", None)
    if worker is not None:
        config.stash[LOCKS] = Path(worker["interop_locks"])


def pytest_unconfigure(config: pytest.Config) -> None:
    """Remove what the workers shared."""
    if LOCKS in config.stash and not hasattr(config, "workerinput"):
        shutil.rmtree(config.stash[LOCKS], ignore_errors=True)


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker, before it starts, where the locks are."""
    if LOCKS not in node.config.stash:
        node.config.stash[LOCKS] = Path(tempfile.mkdtemp(prefix="interop-tests-"))
    node.workerinput["interop_locks"] = str(node.config.stash[LOCKS])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest come first and what needs the machine for itself last, so that no worker waits long."""
    items.sort(key=lambda item: (_is(item, "alone"), not _is(item, "sanitizer")))


def _is(item: pytest.Item, marker: str) -> bool:
    return item.get_closest_marker(marker) is not None


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test marked ``alone`` while no other worker runs any; outside the time that the test is given."""
    folder = item.config.stash.get(LOCKS, None)
    if folder is None:
        return (yield)
    import fcntl

    alone = _is(item, "alone")
    with (folder / "turnstile").open("wb") as turnstile, (folder / "machine").open("wb") as machine:
        # Who waits for the machine stands in the turnstile, so that others cannot take it again and again.
        fcntl.flock(turnstile, fcntl.LOCK_EX)
        fcntl.flock(machine, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        if not alone:
            fcntl.flock(turnstile, fcntl.LOCK_UN)
        return (yield)


@pytest.fixture
def nothing_left_behind() -> Iterator[leaks.Resources]:
    """Fail when the test leaves a file descriptor or a thread behind, whether Python's or a driver's."""
    before = leaks.snapshot()
    yield before
    left = leaks.leaked_since(before)
    assert not left, f"left behind: {', '.join(left)}"
