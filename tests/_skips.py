"""A pytest plugin that fails a run in which a test was skipped that ``tests/skips.txt`` does not list.

``./run test`` loads it (``-p tests._skips``). Without it a missing driver would turn the suite green by
skipping it. Each line of the list says which test may be skipped, on what ground, and why that is right::

    tests/device/test_*.py | no NVIDIA driver | needs an NVIDIA GPU; the software drivers cover the same code

The first field is a glob over node ids, the second a part of the skip's reason, the third is for the reader.
Blank lines and lines that begin with ``#`` are ignored.
"""

from __future__ import annotations

import fnmatch
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LIST = Path(__file__).with_name("skips.txt")


@dataclass(frozen=True, slots=True, kw_only=True)
class AllowedSkip:
    """One line of the list."""

    test: str
    reason: str
    why: str

    def covers(self, skip: Skip) -> bool:
        """Whether ``skip`` is of this test and on this ground."""
        # Brackets of parametrised ids are meant literally, so they must not form a character class.
        pattern = self.test.replace("[", "[[]")
        return fnmatch.fnmatchcase(skip.test, pattern) and self.reason in skip.reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Skip:
    """A test, or a whole file, that did not run."""

    test: str
    reason: str


def parse(text: str) -> list[AllowedSkip]:
    """Read the list. ValueError names the line that lacks a field."""
    allowed: list[AllowedSkip] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        fields = [field.strip() for field in line.split(" | ", maxsplit=2)]
        if len(fields) != 3 or not all(fields):
            message = f"skips.txt:{number}: expected 'test | reason | why', got {line!r}"
            raise ValueError(message)
        allowed.append(AllowedSkip(test=fields[0], reason=fields[1], why=fields[2]))
    return allowed


def unlisted(skips: Iterable[Skip], allowed: Sequence[AllowedSkip]) -> list[Skip]:
    """Those of ``skips`` that no line allows."""
    return [skip for skip in skips if not any(entry.covers(skip) for entry in allowed)]


class SkipPolicy:
    """Collects the skips of one session and judges them at its end."""

    def __init__(self, allowed: Sequence[AllowedSkip]) -> None:
        self.allowed = allowed
        self.skips: list[Skip] = []
        self.refused: list[Skip] = []

    def _note(self, report: pytest.TestReport | pytest.CollectReport) -> None:
        # An expected failure is reported as skipped too; strict xfail looks after those.
        if not report.skipped or hasattr(report, "wasxfail"):
            return
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        self.skips.append(Skip(test=report.nodeid, reason=reason.removeprefix("Skipped: ")))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note a skipped test."""
        self._note(report)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note a file that skipped itself."""
        self._note(report)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        """Turn an otherwise good run into a failed one when a skip is not listed."""
        self.refused = unlisted(self.skips, self.allowed)
        if self.refused and session.exitstatus == pytest.ExitCode.OK:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name the skips that failed the run."""
        if not self.refused:
            return
        terminalreporter.section("skips that tests/skips.txt does not list", red=True)
        for skip in self.refused:
            terminalreporter.line(f"{skip.test}: {skip.reason}")


def pytest_configure(config: pytest.Config) -> None:
    """Start the policy for this session."""
    text = LIST.read_text(encoding="utf-8") if LIST.exists() else ""
    config.pluginmanager.register(SkipPolicy(parse(text)), "interop-skip-policy")
