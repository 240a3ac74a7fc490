"""PyTorch on an NVIDIA GPU: tensors of Vulkan's memory, in fresh processes that count what they leave."""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import fresh
import numpy as np
import pytest
from PIL import Image

from interop import registry
from interop.protocols import BackendUnavailable
from interop.toolkit import DeviceType

if TYPE_CHECKING:
    from interop.protocols import ConsumerBackend

HERE = Path(__file__).parent
EXAMPLE = HERE.parents[1] / "examples/vulkan_to_torch.py"

pytestmark = [
    pytest.mark.device,
    pytest.mark.skipif(importlib.util.find_spec("torch") is None, reason="PyTorch is not installed"),
    pytest.mark.skipif(not Path("/dev/nvidiactl").exists(), reason="no NVIDIA GPU"),
]


@pytest.fixture(params=["cuda", "hip"])
def consumer(request: pytest.FixtureRequest) -> str:
    """A consumer whose memory PyTorch for CUDA takes: CUDA, and HIP where it runs on CUDA."""
    name: str = request.param
    try:
        backend: ConsumerBackend = registry.default().load_consumer(name)
        device = backend.devices()[0]
    except BackendUnavailable as error:
        pytest.skip(f"backend {name!r} is not available: {error}")
    opened = backend.open_consumer(device)
    view = opened.allocate(16)
    kind, _ = view.__dlpack_device__()  # type: ignore[attr-defined]  # not every backend speaks DLPack
    view.close()
    opened.close()
    if kind != DeviceType.CUDA:
        pytest.skip(f"{device.name} is no CUDA device to PyTorch")
    return name


@pytest.mark.timeout(600)
def test_tensors_are_right_and_outlive_everything_in_every_order(consumer: str) -> None:
    command: list[str | Path] = [
        sys.executable,
        HERE / "tensors.py",
        f"--consumer={consumer}",
        "--library=torch",
    ]
    done = fresh.run(command, timeout=580)
    assert done.status == 0, done.output
    found = json.loads(done.output[done.output.index("{") :])
    assert found["wrong"] == []
    assert (found["frames"], found["orders"]) == (100, 240)
    assert found["device_growth_bytes"] is not None, "the device's memory was not measured"


def test_the_example_draws_what_pytorch_made(consumer: str, tmp_path: Path) -> None:
    done = fresh.run([sys.executable, EXAMPLE, consumer], cwd=tmp_path, timeout=100)
    assert done.status == 0, done.output
    assert f"zero-copy to cuda:0 by {consumer}" in done.output
    with Image.open(tmp_path / "vulkan_to_torch.png") as picture:
        assert len(np.unique(np.asarray(picture).reshape(-1, 3), axis=0)) > 1000
