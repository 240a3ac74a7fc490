"""``interop bench`` on the software drivers: each measure gives figures, and a wrong name says which there are."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import fresh
import pytest
import software

from interop.cli import MEASURES

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
COMMAND = [sys.executable, "-m", "interop.cli", "bench", "--consumers=opencl", "--frames=5"]
NAMES = {"turn_cost": {"turn_cost", "round_trip", "frames"}, "staged": {"staged_frame"}}
"""What the rows are called, where it is not as the measure is."""


@pytest.mark.slow
@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_gives_figures(tmp_path: Path, measure: str) -> None:
    file = tmp_path / "figures.json"
    done = fresh.run(
        [*COMMAND, f"--measure={measure}", f"--json={file}"], software.environment("swiftshader"), timeout=100
    )
    assert done.status == 0, done.output
    rows = json.loads(file.read_text(encoding="utf-8"))
    assert {row["measure"] for row in rows} == NAMES.get(measure, {measure})
    for row in rows:
        assert row["consumer"] == "opencl"
        assert row["value"] > 0
        assert row["unit"]
        assert (row["ratio"] is None) == (not row["reference"])


def test_a_measure_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = fresh.run([*COMMAND, "--measure=speed"], software.environment("swiftshader"), timeout=60)
    assert done.status == 2
    assert "bandwidth" in done.output
