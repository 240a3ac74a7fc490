"""What is compared, and what of it is shown: no driver is opened."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from interop import BackendUnavailable, DeviceMismatch, WaitTimeout
from interop.cli._options import write_json
from interop.cli.compare import measure, report
from interop.cli.compare.measure import CompareSettings, Result

if TYPE_CHECKING:
    from pathlib import Path


def ignore(phase: str, frames: int) -> None:
    del phase, frames


def done(consumer: str, *, error: float = 0.0, speed: float = 100.0, frames: int = 4) -> Result:
    """A consumer that ran to its end, ``error`` away from what it should have computed."""
    right = error <= measure.TOLERANCE
    return Result(
        consumer=consumer,
        available=True,
        device=f"{consumer} device",
        software=True,
        device_match="uuid",
        handle_type="opaque_fd",
        path="zero-copy",
        to_consumer="native",
        to_producer="bridged",
        producer_device="SwiftShader",
        frames=frames,
        verified_frames=frames if right else frames - 1,
        max_abs_error=error,
        frames_per_second=speed,
        staged_frames_per_second=speed / 2,
        heights={frame: np.full((2, 2), frame + error, np.float32) for frame in range(frames)},
        pictures={frame: np.full((24, 32, 4), 50 * frame, np.uint8) for frame in range(frames)},
    )


def shown(results: list[Result]) -> str:
    console = Console(width=160, record=True, file=None, quiet=False)
    with console.capture() as captured:
        console.print(report.table(results))
    return captured.get()


def test_the_wave_is_what_the_kernel_says() -> None:
    """Row by row, in plain Python."""
    grid, t = 5, 0.75
    expected = [
        [math.sin(10 * (2 * x / grid - 1) + t) * math.cos(10 * (2 * y / grid - 1) + t) for x in range(grid)]
        for y in range(grid)
    ]
    assert np.allclose(measure.wave(grid, t), expected, rtol=0, atol=1e-12)
    assert not np.allclose(measure.wave(grid, t), measure.wave(grid, t).T)
    assert not np.allclose(
        measure.wave(grid, t), measure.wave(grid, t + 1 / 60), atol=100 * measure.TOLERANCE
    )


@pytest.mark.parametrize("frames", [1, 2, 3, 12, 13, 600])
def test_kept_frames_hold_the_first_and_the_last(frames: int) -> None:
    kept = measure.kept_frames(frames)
    assert {0, frames - 1} <= kept
    assert kept <= set(range(frames))
    assert len(kept) == min(frames, 12)


@pytest.mark.parametrize(
    ("change", "correct"),
    [
        ({}, True),
        ({"verified_frames": 3}, False),
        ({"reason": "WaitTimeout: waited 10 s"}, False),
        ({"available": False, "reason": "not installed", "frames": 0, "verified_frames": 0}, True),
    ],
)
def test_correct(change: dict[str, object], correct: bool) -> None:
    result = done("opencl")
    for name, value in change.items():
        setattr(result, name, value)
    assert result.correct is correct


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (BackendUnavailable("hip", "no runtime", "install it"), ("no runtime", "to fix: install it")),
        (DeviceMismatch("vulkan:0", "hip:0", "not the same device"), ("vulkan:0", "hip:0")),
        (WaitTimeout("the queue", 2), ("the queue",)),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_consumer_that_cannot_be_used_gives_its_reason(
    monkeypatch: pytest.MonkeyPatch, error: Exception, words: tuple[str, ...]
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(measure, "connect", refuse)
    result = measure.compare_consumer("hip", CompareSettings(frames=2), ignore)
    assert not result.available
    assert all(word in result.reason for word in words)
    assert "not available" in shown([result])


def test_agreement_is_over_common_frames_and_tells_the_largest_difference() -> None:
    left, right, absent = (
        done("opencl", speed=300),
        done("hip", error=1e-6, frames=6),
        Result(consumer="cuda"),
    )
    right.heights[2][1, 0] += 0.5
    (found,) = measure.agreements([left, right, absent])
    assert (found.a, found.b, found.frames) == ("opencl", "hip", 4)
    assert found.max_abs_difference == pytest.approx(0.5, abs=1e-5)
    assert found.speed_ratio == pytest.approx(3)


def test_table_tells_right_from_wrong() -> None:
    text = shown([done("opencl"), done("hip", error=0.25), Result(consumer="cuda", reason="no driver here")])
    for part in ("4 of 4", "3 of 4", "2.5e-01", "no driver here", "2.00 x", "native", "bridged", "opaque_fd"):
        assert part in text


def test_document_is_json_that_says_everything(tmp_path: Path) -> None:
    results = [done("opencl"), Result(consumer="cuda", reason="no driver here")]
    write_json(tmp_path / "out.json", report.document("vulkan", results, measure.agreements(results)))
    content = json.loads((tmp_path / "out.json").read_text(encoding="utf-8"))
    assert content["producer"] == {"backend": "vulkan", "device": "SwiftShader"}
    here, absent = content["results"]
    assert here["verified_frames"] == here["frames"] == 4
    assert here["sync"] == {"to_consumer": "native", "to_producer": "bridged"}
    assert (absent["available"], absent["reason"], absent["frames_per_second"]) == (
        False,
        "no driver here",
        None,
    )
    assert content["agreement"] == []


def test_picture_has_a_row_for_each_consumer(tmp_path: Path) -> None:
    file = tmp_path / "sheet.png"
    assert report.write_png(file, [done("opencl"), done("hip"), Result(consumer="cuda")])
    with Image.open(file) as sheet:
        assert sheet.width == 4 * 32
        assert 2 * 24 < sheet.height < 4 * 24
        assert len(sheet.convert("L").getcolors() or []) > 4


def test_no_picture_of_nothing(tmp_path: Path) -> None:
    assert not report.write_png(tmp_path / "sheet.png", [Result(consumer="cuda")])
    assert list(tmp_path.iterdir()) == []
