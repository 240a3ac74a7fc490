"""``interop bench`` on the software drivers: each measure gives figures, and a wrong name says which there are."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import fresh
import pytest
import software

from interop.cli._measures import MEASURES
from interop.cli.bench._staged import break_even

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
COMMAND = [sys.executable, "-m", "interop", "bench", "--frames=8"]
BY_HAND = software.ROOT / "benchmarks" / "by_hand"
COMPARED = {"first_frame", "import", "turn_cost", "round_trip"}
"""What is held against programs by hand."""
KEYS = {"consumer", "sync", "measure", "parameters", "value", "unit", "p99", "reference", "ratio"}


def measured(file: Path, *arguments: str) -> tuple[list[dict[str, Any]], str]:
    """Run the command; return its rows, without the one of the environment, and what it printed."""
    done = fresh.run(
        [*COMMAND, f"--json={file}", *arguments], software.environment("swiftshader"), timeout=100
    )
    assert done.status == 0, done.output
    where, *rows = json.loads(file.read_text(encoding="utf-8"))
    assert where["measure"] == "environment"
    assert where["value"] >= 1
    assert "SwiftShader" in where["parameters"]["devices"]["vulkan"]
    for row in rows:
        assert row.keys() == KEYS
        assert row["value"] > 0
        assert row["unit"]
        assert (row["ratio"] is None) == (not row["reference"])
    return rows, done.output


@pytest.mark.slow
@pytest.mark.parametrize("consumer", ["opencl", "hip"])
@pytest.mark.parametrize("measure", MEASURES)
def test_each_measure_gives_figures(tmp_path: Path, measure: str, consumer: str) -> None:
    rows, _ = measured(
        tmp_path / "figures.json",
        f"--consumers={consumer}",
        f"--measure={measure}",
        f"--by-hand={BY_HAND}",
    )
    assert {row["measure"] for row in rows} == {measure}
    assert {row["consumer"] for row in rows} == {consumer}
    if measure in COMPARED:
        assert any("by hand" in row["reference"] for row in rows)


@pytest.mark.slow
def test_several_measures_make_one_list_and_one_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    picture = tmp_path / "figures.png"
    rows, said = measured(
        tmp_path / "figures.json",
        "--consumers=opencl,cuda",
        "--measure=import,round_trip",
        f"--png={picture}",
    )
    assert {row["measure"] for row in rows} == {"import", "round_trip"}
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert "cuda:" in said  # a consumer that is not there is named, with the reason


@pytest.mark.slow
def test_without_programs_by_hand_figures_come_all_the_same_and_the_reason_is_said(tmp_path: Path) -> None:
    rows, said = measured(
        tmp_path / "figures.json", "--consumers=opencl", "--measure=import", f"--by-hand={tmp_path}"
    )
    assert rows
    assert not any(row["reference"] for row in rows)
    assert "opencl_side.py" in said


def test_a_measure_that_does_not_exist_is_refused_with_those_that_do() -> None:
    done = fresh.run([*COMMAND, "--measure=speed"], software.environment("swiftshader"), timeout=60)
    assert done.status == 2
    assert "bandwidth" in done.output


@pytest.mark.parametrize(
    ("shared", "copied", "expected"),
    [
        ({1: 10.0, 100: 10.0}, {1: 20.0, 100: 90.0}, 1.0),  # sharing wins throughout: at most the least
        ({1: 10.0, 100: 10.0}, {1: 5.0, 100: 9.0}, 100.0),  # copies win throughout: above the largest
        ({1: 10.0, 100: 10.0}, {1: 5.0, 100: 20.0}, 10.0),  # half way on both scales
        ({1: 10.0}, {2: 10.0}, None),
    ],
)
def test_the_break_even_lies_between_the_sizes(
    shared: dict[int, float], copied: dict[int, float], expected: float | None
) -> None:
    assert break_even(shared, copied) == pytest.approx(expected)
