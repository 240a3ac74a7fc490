"""Thousands of frames through rings for each driver, consumer and strategy: none wrong, nothing left."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING

import fresh
import pytest
import ring_frames
import ring_modes
import software

if TYPE_CHECKING:
    from pathlib import Path

    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

FRAMES = 1000
CASES: list[tuple[VulkanChoice, str, str]] = [
    ("swiftshader", "opencl", "native"),
    ("swiftshader", "hip", "native"),
    ("lavapipe", "opencl", "bridged"),
    ("lavapipe", "hip", "bridged"),
    ("swiftshader", "numpy", "bridged"),
    ("swiftshader", "opencl", "blocking"),
    ("lavapipe", "hip", "blocking"),
]


@pytest.mark.soak
@pytest.mark.parametrize(("vulkan", "consumer", "sync"), CASES)
def test_a_thousand_frames_in_batches(vulkan: VulkanChoice, consumer: str, sync: str) -> None:
    found = fresh.call(
        ring_frames.many,
        software.environment(vulkan),
        consumer=consumer,
        sync=sync,
        frames=FRAMES,
        timeout=100,
    )
    assert found["plan"] == [sync, sync]
    assert found["checked"] == ring_frames.SLOTS
    assert (found["wrong sums"], found["wrong results"]) == (0, 0)
    assert (found["grown"], found["left"]) == ([], [])


@pytest.mark.soak
@pytest.mark.parametrize(("vulkan", "consumer", "sync"), CASES)
def test_a_thousand_frames_recorded_once(vulkan: VulkanChoice, consumer: str, sync: str) -> None:
    found = fresh.call(
        ring_frames.recorded,
        software.environment(vulkan),
        consumer=consumer,
        sync=sync,
        frames=FRAMES,
        timeout=100,
    )
    assert (found["frames"], found["wrong"], found["grown"]) == (FRAMES, 0, [])


@pytest.mark.soak
@pytest.mark.parametrize(("vulkan", "consumer", "sync"), CASES)
def test_no_frame_is_torn_and_every_one_is_counted(vulkan: VulkanChoice, consumer: str, sync: str) -> None:
    found = fresh.call(
        ring_modes.every_way,
        software.environment(vulkan),
        consumer=consumer,
        sync=sync,
        frames=FRAMES // 2,
        timeout=200,
    )
    assert {name: each["faults"] for name, each in found.items() if each["faults"]} == {}
    assert all(each["plan"] == [sync, sync] for each in found.values())
    assert found["latency, producer's frames, slow taker"]["dropped"] > 0


@pytest.mark.soak
@pytest.mark.parametrize("source", ["producer", "consumer"])
def test_a_ring_that_gives_slots_out_too_early_is_noticed(source: str) -> None:
    found = fresh.call(
        ring_modes.careless,
        software.environment("swiftshader"),
        consumer="numpy",
        sync="bridged",
        source=source,
        frames=2 * FRAMES,
        rounds=1000,
        timeout=200,
    )
    assert found["torn"] + found["wrong"] > 0


@pytest.mark.soak
def test_a_frame_costs_the_same_however_much_else_there_is(tmp_path: Path) -> None:
    figures = tmp_path / "growth.json"
    program = software.ROOT / "benchmarks/growth.py"
    options: list[str | Path] = ["--rounds", "2", "--frames", "128", "--limit", "1.5", "--json", figures]
    done = fresh.run([sys.executable, program, *options], software.environment("swiftshader"), timeout=200)
    assert done.status == 0, done.output
    rows = json.loads(figures.read_text(encoding="utf-8"))["figures"]
    assert len(rows) == 2 * 3 * 5
    # What grows does so with their number, by far more than this. On a busy machine waits look more often, and the
    # caller's own processor time, by which it is seen what C code does, depends on the caches.
    times = {str(row["parameters"]): row["ratio"] for row in rows if row["measure"] == "cost per frame"}
    assert all(ratio < 3.0 for ratio in times.values()), times


def test_rings_are_held_against_programs_by_hand(tmp_path: Path) -> None:
    figures = tmp_path / "ring.json"
    program, picture = software.ROOT / "benchmarks/ring.py", tmp_path / "ring.png"
    options: list[str | Path] = ["--slots", "2,4", "--batches", "2", "--seconds", "0.005", "--rounds", "2"]
    options += ["--json", figures, "--png", picture]
    done = fresh.run([sys.executable, program, *options], software.environment("swiftshader"), timeout=200)
    assert done.status == 0, done.output
    rows = json.loads(figures.read_text(encoding="utf-8"))["figures"]
    keys = {"consumer", "sync", "measure", "parameters", "value", "unit", "p99", "reference", "ratio"}
    assert all(row.keys() == keys and row["value"] > 0 for row in rows)
    ours = [row["parameters"] for row in rows if row["measure"] == "ring"]
    assert [(each["slots"], each["batch"]) for each in ours] == [(2, 1), (4, 1), (4, 2)]
    assert picture.stat().st_size > 0
    if "no C++" not in done.output:
        assert all((row["ratio"] or 0) > 0 for row in rows if row["measure"] == "ring")


def test_a_ring_chooses_its_size() -> None:
    found = fresh.call(ring_modes.tuned, software.environment("swiftshader"), consumer="opencl", timeout=100)
    assert found["slots"] in found["tried"]
    assert found["seconds"] <= 1.05 * min(found["measured"])
    assert f"chosen of {len(found['tried'])}" in found["shown"]
    assert found["taken"] == 20
