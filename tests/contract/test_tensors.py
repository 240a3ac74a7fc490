"""Tensors of shared memory on the software drivers: the programs that a machine with a GPU runs too."""

from __future__ import annotations

import importlib.util
import json
import sys
from typing import TYPE_CHECKING, Any

import fresh
import leaky
import numpy as np
import pytest
import software
from PIL import Image

if TYPE_CHECKING:
    from pathlib import Path

    from interop_softgpu.activate import VulkanChoice

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")

EXAMPLE = software.ROOT / "examples/vulkan_to_torch.py"
TENSORS = software.ROOT / "tests/device/tensors.py"
needs_torch = pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed")


def tensors(vulkan: VulkanChoice, *arguments: str) -> dict[str, Any]:
    done = fresh.run([sys.executable, TENSORS, *arguments], software.environment(vulkan), timeout=280)
    assert done.status == 0, done.output
    found: dict[str, Any] = json.loads(done.output[done.output.index("{") :])
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("vulkan", "consumer", "library"),
    [
        ("swiftshader", "numpy", "numpy"),
        ("lavapipe", "numpy", "numpy"),
        pytest.param("swiftshader", "numpy", "torch", marks=needs_torch),
        ("swiftshader", "opencl", "raw"),
        ("swiftshader", "hip", "raw"),
        ("lavapipe", "hip", "raw"),  # bridged, as on AMD's Linux
    ],
)
def test_a_tensor_outlives_everything_in_every_order(
    vulkan: VulkanChoice, consumer: str, library: str
) -> None:
    found = tensors(vulkan, f"--consumer={consumer}", f"--library={library}", "--frames=20", "--mib=0.0625")
    assert found["wrong"] == []
    assert found["orders"] == 240


@pytest.mark.parametrize("library", ["numpy", pytest.param("torch", marks=needs_torch)])
def test_tensors_are_right_to_the_bit(library: str) -> None:
    found = tensors("swiftshader", f"--library={library}", "--frames=50", "--every=120")
    assert (found["wrong"], found["frames"]) == ([], 50)


def test_a_leak_does_not_pass() -> None:
    """The program that finds nothing wrong above, with a library that never gives a tensor back."""
    done = fresh.attempt(leaky.run, software.environment())
    assert done.status == 1, done.output
    assert "left behind: descriptor" in done.output


@needs_torch
def test_the_example_draws_what_pytorch_made(tmp_path: Path) -> None:
    command: list[str | Path] = [sys.executable, "-W", "error::ResourceWarning", EXAMPLE]
    done = fresh.run(command, software.environment(), cwd=tmp_path)
    assert done.status == 0, done.output
    assert "zero-copy to cpu by numpy" in done.output
    with Image.open(tmp_path / "vulkan_to_torch.png") as picture:
        pixels = np.asarray(picture)
    assert len(np.unique(pixels.reshape(-1, 3), axis=0)) > 1000  # a shaded surface, not an empty picture


def test_the_example_without_pytorch_says_what_is_missing(tmp_path: Path) -> None:
    code = f"import runpy, sys; sys.modules['torch'] = None; runpy.run_path({str(EXAMPLE)!r})"
    done = fresh.run([sys.executable, "-c", code], software.environment(), cwd=tmp_path)
    assert done.status == 1
    assert done.output.splitlines() == [
        "this example needs PyTorch; see https://pytorch.org/get-started for your machine"
    ]
