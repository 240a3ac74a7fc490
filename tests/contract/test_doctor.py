"""``interop doctor --test`` passes where the drivers are sound, and finds and names a fault that is switched on."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from pathlib import Path


def examine(folder: Path, **switches: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """Run it in a process of its own; return the status, and the pairs with Vulkan by consumer."""
    file = folder / "doctor.json"
    command = [sys.executable, "-m", "interop.cli", "doctor", "--test", "--timeout=1", "--json", str(file)]
    done = subprocess.run(
        command, env=os.environ | switches, timeout=120, check=False, capture_output=True, text=True
    )
    assert file.exists(), done.stdout + done.stderr
    pairs = json.loads(file.read_text(encoding="utf-8"))["pairs"]
    return done.returncode, {pair["consumer"]: pair for pair in reversed(pairs)}


def test_sound_drivers_pass(tmp_path: Path) -> None:
    status, pairs = examine(tmp_path)
    trials = [trial for pair in pairs.values() for trial in pair["trials"]]
    assert status == 0
    assert trials
    assert all(trial["passed"] for trial in trials)
    assert {trial["path"] for trial in pairs["opencl:0"]["trials"]} == {"zero-copy", "staged"}


def test_images_are_told_for_each_pair(tmp_path: Path) -> None:
    images = {name: pair["images"] for name, pair in examine(tmp_path)[1].items()}
    assert images["opencl:0"]["tilings"] == images["hip:0"]["tilings"] == ["linear"]
    assert "the OpenCL driver reads images in opaque_fd memory as rows" in images["opencl:0"]["reasons"]
    assert "the HIP device has no images, says hipDeviceAttributeImageSupport" in images["hip:0"]["reasons"]
    assert images["numpy:0"]["tilings"] == []
    assert "numpy imports no optimal images by opaque_fd" in images["numpy:0"]["reasons"]
    tiled = examine(tmp_path, SOFTGPU_CL_IMAGES="tiled")[1]["opencl:0"]["images"]
    assert tiled["tilings"] == ["optimal"]
    assert "the OpenCL driver does not read images in opaque_fd memory as rows" in tiled["reasons"]


@pytest.mark.parametrize(
    ("switch", "value", "consumer", "words"),
    [
        ("FAIL", "hipImportExternalMemory:1+", "hip:0", "hipImportExternalMemory returned"),
        ("FAIL", "clCreateBufferWithProperties:1+", "opencl:0", "clCreateBufferWithProperties returned"),
        ("SIGNAL_DELAY_MS", "3000", "opencl:0", "WaitTimeout"),
    ],
)
def test_a_fault_is_found_and_named(
    tmp_path: Path, switch: str, value: str, consumer: str, words: str
) -> None:
    status, pairs = examine(tmp_path, **{f"SOFTGPU_{switch}": value})
    failed = [trial["words"] for trial in pairs[consumer]["trials"] if not trial["passed"]]
    assert status == 1
    assert failed
    assert all(words in said for said in failed)


def test_another_devices_uuid_is_named_and_not_tested(tmp_path: Path) -> None:
    _, pairs = examine(tmp_path, SOFTGPU_HIP_UUID="wrong")
    assert "uuid differs" in pairs["hip:0"]["reason"]
    assert pairs["hip:0"]["trials"] == []
