"""The backend over a stand-in for the driver: fake/cases.py in a process that loads tests/support/libcuda.c."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from stand_in import search

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

CASES = Path(__file__).parent / "fake" / "cases.py"
WINDOWS_CASES = CASES.with_name("windows_cases.py")
ROOT = Path(__file__).parents[3]
SUPPORT = (str(ROOT / "tests" / "support"), str(ROOT / "benchmarks"))
PYTEST = ("-m", "pytest", "-q", "-x", "-c", "/dev/null", "-W", "error", "-p", "no:cacheprovider")


@pytest.mark.parametrize(
    ("chosen", "environment"),
    [("test", {}), ("holds or notify or synchronize or reads or held", {"FAKE_CUDA_PLAIN": "1"})],
    ids=["everything", "no wait-value"],
)
def test_cases(
    python: Callable[..., subprocess.CompletedProcess[str]],
    stand_in: Path,
    chosen: str,
    environment: dict[str, str],
) -> None:
    arguments = (*PYTEST, "--rootdir", str(CASES.parent), "-k", chosen, str(CASES))
    path = os.pathsep.join(filter(None, [*SUPPORT, os.environ.get("PYTHONPATH")]))
    done = python(*arguments, LD_LIBRARY_PATH=search(stand_in), PYTHONPATH=path, **environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout


def test_cases_of_windows(python: Callable[..., subprocess.CompletedProcess[str]], stand_in: Path) -> None:
    arguments = (*PYTEST, "--rootdir", str(CASES.parent), str(WINDOWS_CASES))
    path = os.pathsep.join(filter(None, [*SUPPORT, os.environ.get("PYTHONPATH")]))
    done = python(*arguments, LD_LIBRARY_PATH=search(stand_in), PYTHONPATH=path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
