"""Software drivers for every test that opens a driver, and nothing left behind by any of them."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import software

from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Iterator


def pytest_configure(config: pytest.Config) -> None:
    """Point the loaders at the software drivers before anything opens one; hardware keeps its own."""
    os.environ.setdefault(
        "PYOPENCL_NO_CACHE", "1"
    )  # a kernel of an earlier run must not hide a compiler that fails
    software.activate.activate()


@pytest.fixture
def nothing_left_behind() -> Iterator[leaks.Resources]:
    """Fail when the test leaves a file descriptor or a thread behind, whether Python's or a driver's."""
    before = leaks.snapshot()
    yield before
    left = leaks.leaked_since(before)
    assert not left, f"left behind: {', '.join(left)}"
