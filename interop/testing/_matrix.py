"""The result of a run: one row for each case, a score for each theme."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from interop.testing._pair import Pair

PASSED = "passed"
FAILED = "failed"
EXPECTED = "expected failure"
DRIVER = "driver"
"""Failed as its driver is known to make it fail, and in no other way."""
UNSUPPORTED = "unsupported"
NOT_OFFERED = "not offered"
SKIPPED = "skipped"
NOT_RUN = (UNSUPPORTED, NOT_OFFERED)


@dataclass(slots=True, kw_only=True)
class MatrixRow:
    """One case."""

    case: str
    """Theme and name, for instance ``"mapping::views_overlap"``."""
    outcome: str
    reason: str = ""
    """Why it was not run, or what failed."""
    seconds: float = 0.0


@dataclass(slots=True, kw_only=True)
class Matrix:
    """The rows of one run."""

    rows: dict[str, MatrixRow] = field(default_factory=dict[str, MatrixRow])

    def note(self, case: str, outcome: str, reason: str = "", seconds: float = 0.0) -> None:
        """Record an outcome of a case. A failure in any phase (set-up, call, teardown) stays one."""
        row = self.rows.setdefault(case, MatrixRow(case=case, outcome=outcome))
        row.seconds += seconds
        if row.outcome != FAILED:
            row.outcome, row.reason = outcome, reason

    def themes(self) -> dict[str, list[MatrixRow]]:
        """Return the rows by theme, in the order in which they came."""
        found: dict[str, list[MatrixRow]] = {}
        for row in self.rows.values():
            found.setdefault(row.case.partition("::")[0], []).append(row)
        return found

    def lines(self, pair: Pair) -> Iterator[str]:
        """Write the summary for people."""
        yield f"producer  {pair.producer}"
        yield f"consumer  {pair.consumer}"
        for theme, rows in self.themes().items():
            passed, applicable = _score(rows)
            yield f"{theme:<10}{f'{passed}/{applicable}':>8}" if applicable else f"{theme:<10}{'-':>8}"
            for outcome in (FAILED, EXPECTED, DRIVER, UNSUPPORTED, NOT_OFFERED, SKIPPED):
                yield from _grouped(outcome, [row for row in rows if row.outcome == outcome])
        passed, applicable = _score(self.rows.values())
        yield f"{'score':<10}{f'{passed}/{applicable}':>8}"

    def write(self, path: Path, pair: Pair) -> None:
        """Write everything as JSON."""
        passed, applicable = _score(self.rows.values())
        content = {
            "backend": pair.consumer.backend,
            "producer": str(pair.producer),
            "consumer": str(pair.consumer),
            "software": pair.producer.software or pair.consumer.software,
            "layered": pair.consumer.layered,
            "plan": pair.plan.explain().splitlines(),
            "score": {"passed": passed, "applicable": applicable},
            "themes": {
                theme: dict(zip(("passed", "applicable"), _score(rows), strict=True))
                for theme, rows in self.themes().items()
            },
            "cases": [asdict(row) for row in self.rows.values()],
        }
        path.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _score(rows: Iterable[MatrixRow]) -> tuple[int, int]:
    applicable = [row for row in rows if row.outcome not in NOT_RUN]
    return sum(row.outcome == PASSED for row in applicable), len(applicable)


def _grouped(outcome: str, rows: list[MatrixRow]) -> Iterator[str]:
    """One line for each reason: a missing capability stops many cases."""
    reasons: dict[str, list[str]] = {}
    for row in rows:
        reasons.setdefault(row.reason, []).append(row.case.split("::", maxsplit=1)[1])
    for reason, cases in reasons.items():
        names = ", ".join(cases[:3]) + (f" and {len(cases) - 3} more" if len(cases) > 3 else "")  # noqa: PLR2004 - a short line
        yield f"  {outcome}: {names}" + (f" ({reason})" if reason else "")
