"""The Vulkan validation layer has nothing to say about anything that a user runs."""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import frames
import fresh
import image_cases
import misuse
import pytest
import ring_frames
import software
from validation import LAYER, complaints

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from interop_softgpu.activate import VulkanChoice

pytestmark = [
    pytest.mark.validation,
    pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux"),
]

DRIVERS: tuple[VulkanChoice, ...] = ("swiftshader", "lavapipe")


def environment(vulkan: VulkanChoice, *, hazards: bool = False, **switches: str) -> dict[str, str]:
    """Turn the layer on; ``hazards``: with its checks of synchronisation between commands.

    Not with the bridged strategy: layers before July 2023 lock that part against ``vkSignalSemaphore`` while
    ``vkWaitSemaphores`` of another thread waits for it, and end the wait after 10 seconds with
    UNASSIGNED-VkSemaphore-state-timeout, "most likely a validation bug".
    """
    enabled = "VK_VALIDATION_FEATURE_ENABLE_SYNCHRONIZATION_VALIDATION_EXT" if hazards else ""
    # Without settings of its own the layer reports errors and warnings on standard output.
    return software.environment(vulkan, VK_INSTANCE_LAYERS=LAYER, VK_LAYER_ENABLES=enabled, **switches)


def compare(vulkan: VulkanChoice, folder: Path, *arguments: str, hazards: bool = False) -> dict[str, Any]:
    """Run ``interop compare`` on few frames under the layer; return its results by consumer."""
    file = folder / "figures.json"
    command = [sys.executable, "-m", "interop", "compare", "--consumers=opencl,hip,numpy", "--grid=64"]
    command += ["--frames=3", f"--json={file}", *arguments]
    done = fresh.run(command, environment(vulkan, hazards=hazards), timeout=100)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    results = json.loads(file.read_text(encoding="utf-8"))["results"]
    return {result["consumer"]: result for result in results}


@pytest.mark.parametrize("vulkan", DRIVERS)
def test_the_layer_is_listening(vulkan: VulkanChoice) -> None:
    for wrong, rule in (
        (misuse.buffer_without_usage, "VUID-VkBufferCreateInfo-"),
        (misuse.overlapping_copy, "VUID-vkCmdCopyBuffer-pRegions"),
    ):
        said = complaints(fresh.attempt(wrong, environment(vulkan)).output)
        assert any(rule in line for line in said), f"{wrong.__name__}: {said}"


# Lavapipe exports no semaphores.
SYNCS = [(vulkan, sync) for vulkan in DRIVERS for sync in ("auto", "native", "bridged", "blocking")]
SYNCS.remove(("lavapipe", "native"))


@pytest.mark.parametrize(("vulkan", "sync"), SYNCS)
def test_compare(vulkan: VulkanChoice, sync: str, tmp_path: Path) -> None:
    found = compare(vulkan, tmp_path, f"--sync={sync}", hazards=sync in ("native", "blocking"))
    expected = "native" if vulkan == "swiftshader" else "bridged"
    for consumer in ("opencl", "hip"):
        result = found[consumer]
        assert result["verified_frames"] == 3, result
        assert result["path"] == "zero-copy"
        assert set(result["sync"].values()) == {expected if sync == "auto" else sync}
    assert found["numpy"]["verified_frames"] == (0 if sync == "native" else 3)


@pytest.mark.parametrize(
    ("vulkan", "consumer", "sync", "switches", "tiling"),
    [
        ("swiftshader", "opencl", "native", {}, "linear"),
        ("swiftshader", "opencl", "blocking", {"SOFTGPU_CL_IMAGES": "tiled"}, "optimal"),
        ("swiftshader", "hip", "native", {}, "linear"),
        ("lavapipe", "hip", "blocking", {}, "linear"),
    ],
)
def test_images_in_turns(
    vulkan: VulkanChoice, consumer: str, sync: str, switches: dict[str, str], tiling: str
) -> None:
    done = fresh.attempt(
        image_cases.in_turns,
        {**environment(vulkan, hazards=True), **switches},
        consumer=consumer,
        tiling=tiling,
        sync=sync,
        frames=5,
    )
    assert done.result == {"wrong": 0}, done.output
    assert complaints(done.output) == []


@pytest.mark.parametrize("run", [ring_frames.many, ring_frames.recorded])
@pytest.mark.parametrize(
    ("vulkan", "consumer", "sync"),
    [("swiftshader", "opencl", "native"), ("swiftshader", "hip", "native"), ("lavapipe", "hip", "blocking")],
)
def test_ring(vulkan: VulkanChoice, consumer: str, sync: str, run: Callable[..., dict[str, Any]]) -> None:
    done = fresh.attempt(run, environment(vulkan, hazards=True), consumer=consumer, sync=sync, frames=50)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    assert not any(found for name, found in done.result.items() if name.startswith("wrong"))


@pytest.mark.parametrize("run", [frames.many, ring_frames.many, ring_frames.recorded])
def test_sync_files(run: Callable[..., dict[str, Any]]) -> None:
    drivers = environment("swiftshader", hazards=True, SOFTGPU_SEMAPHORE_HANDLES="sync_fd")
    done = fresh.attempt(run, drivers, consumer="opencl", sync="native", frames=60)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    assert not any(found for name, found in done.result.items() if name.startswith("wrong"))
    said = complaints(fresh.attempt(misuse.overlapping_copy, drivers).output)
    assert said, "the layer does not listen"


@pytest.mark.parametrize("vulkan", DRIVERS)
def test_compare_staged(vulkan: VulkanChoice, tmp_path: Path) -> None:
    for result in compare(vulkan, tmp_path, "--path=staged", hazards=True).values():
        assert (result["verified_frames"], result["path"]) == (3, "staged"), result


@pytest.mark.parametrize(
    ("vulkan", "consumer"),
    [("swiftshader", "opencl"), ("swiftshader", "hip"), ("lavapipe", "opencl"), ("lavapipe", "numpy")],
)
def test_example(vulkan: VulkanChoice, consumer: str, tmp_path: Path) -> None:
    program = str(software.ROOT / "examples/sinewave.py")
    command = [sys.executable, program, f"--consumer={consumer}", "--frames=3", "--size=64"]
    done = fresh.run(command, environment(vulkan), cwd=tmp_path)
    assert done.status == 0, done.output
    assert complaints(done.output) == []
    assert (tmp_path / "sinewave.png").stat().st_size > 1000
