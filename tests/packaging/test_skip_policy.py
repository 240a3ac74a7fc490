"""The policy on skipped tests (``tests/_skips.py``) fails a run that it must fail, and no other."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

RunSuite = Callable[..., subprocess.CompletedProcess[str]]

PLUGIN = Path(__file__).parents[1] / "_skips.py"

SUITE = """
import pytest

def test_good():
    pass

@pytest.mark.parametrize("size", [1])
def test_skipped(size):
    pytest.skip("no device here")

@pytest.mark.xfail(strict=True)
def test_expected_failure():
    assert False
"""


@pytest.fixture
def run_suite(tmp_path: Path) -> RunSuite:
    """Run SUITE, or another, under the policy with this list of allowed skips."""

    def run(allowed: str, suite: str = SUITE) -> subprocess.CompletedProcess[str]:
        tests = tmp_path / "tests"
        tests.mkdir()
        shutil.copy(PLUGIN, tests)
        (tests / "skips.txt").write_text(allowed, encoding="utf-8")
        (tests / "test_it.py").write_text(suite, encoding="utf-8")
        command = [sys.executable, "-m", "pytest", "--import-mode=importlib", "-p", "tests._skips"]
        return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    return run


def test_an_unlisted_skip_fails_the_run_and_is_named(run_suite: RunSuite) -> None:
    result = run_suite("# nothing is allowed\n")
    assert result.returncode == 1, result.stdout
    assert "tests/test_it.py::test_skipped[1]: no device here" in result.stdout
    assert result.stdout.splitlines()[-1].count("1 passed, 1 skipped, 1 xfailed")


def test_a_listed_skip_passes(run_suite: RunSuite) -> None:
    result = run_suite("tests/test_it.py::test_skipped[*] | no device | it needs one\n")
    assert result.returncode == 0, result.stdout


def test_the_ground_must_be_the_listed_one(run_suite: RunSuite) -> None:
    result = run_suite("tests/test_it.py::test_skipped[*] | no network | it needs one\n")
    assert result.returncode == 1, result.stdout


def test_a_file_that_skips_itself_counts(run_suite: RunSuite) -> None:
    suite = "import pytest\npytest.skip('no driver', allow_module_level=True)\n"
    good = "def test_good():\n    pass\n"
    result = run_suite("", suite=suite + good)
    assert result.returncode != 0, result.stdout
    assert "no driver" in result.stdout


def test_a_line_without_reason_is_refused(run_suite: RunSuite) -> None:
    result = run_suite("tests/test_it.py::test_skipped[*]\n")
    assert result.returncode != 0
    assert "skips.txt:1: expected" in result.stdout + result.stderr
