"""The software drivers of this machine, as environments for processes that use them."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path

__all__ = ["ROOT", "activate", "available", "environment", "install"]

ROOT = Path(__file__).parents[2]
if importlib.util.find_spec("interop_softgpu") is None:  # not installed where only a build folder is given
    sys.path.append(str(ROOT / "plugins/softgpu/src"))

from interop_softgpu import activate, paths, swiftshader  # noqa: E402 - the path is only complete now
from interop_softgpu.machine import detect  # noqa: E402 - as above


def available() -> activate.Available:
    """Return the drivers that are installed, built, or set in the environment already."""
    given = os.environ.get("VK_DRIVER_FILES", "")
    layer = os.environ.get("OPENCL_LAYERS", "")
    beside = Path(layer).parents[1] / paths.VULKAN_LAYER if "softgpu" in layer else Path("/nowhere")
    rocm = Path(os.environ.get("ROCM_PATH", "/nowhere")) / "lib/libamdhip64.so"
    return activate.Available(
        swiftshader=swiftshader.swiftshader() or (Path(given) if "swiftshader" in given else None),
        lavapipe=swiftshader.lavapipe(),
        vulkan_layer=paths.native(paths.VULKAN_LAYER) or (beside if beside.is_file() else None),
        opencl_layer=paths.native(paths.LAYER) or (Path(layer) if "softgpu" in layer else None),
        hip=paths.native(paths.HIP) or (rocm if rocm.is_file() else None),
        cache=paths.cache(),
    )


def environment(vulkan: activate.VulkanChoice = "swiftshader", **switches: str) -> dict[str, str]:
    """Return the variables under which a process has these drivers and no others.

    ``switches`` are further variables, of the software drivers for instance (``SOFTGPU_HIP_UUID="wrong"``).
    """
    found = available()
    wanted = {"swiftshader": found.swiftshader, "lavapipe": found.lavapipe, "both": found.swiftshader}
    assert wanted[vulkan] is not None, f"no {vulkan} on this machine: ./run test sets it up"
    assert found.opencl_layer is not None, "the OpenCL layer is not built: ./run test does that"
    assert found.hip is not None, "the HIP runtime is not built: ./run test does that"
    machine = detect(os.environ, own_rocm=found.hip.parent.parent)
    if vulkan != "lavapipe" and switches.get("SOFTGPU_SEMAPHORE_HANDLES", "opaque_fd") != "opaque_fd":
        assert found.vulkan_layer is not None, "the Vulkan layer is not built: ./run test does that"
    report = activate.plan(machine, found, switches, choice=vulkan, mode="on")
    # The child is not to look for itself: its environment is complete.
    # Lists that were made longer go before what they were made from.
    longer = {
        name: value
        for name, value in report.environment.items()
        if name.startswith("VK_") and switches.get(name, value) in value
    }
    return {**report.environment, "INTEROP_SOFTGPU": "off", **switches, **longer}


def install(folder: Path, name: str = "softgpu", plugin: str = "interop_softgpu.plugin") -> None:
    """Make the metadata by which a plugin is found, as ``pip install`` does; ``folder`` must be on the import path."""
    metadata = folder / f"interop_{name}-0.dist-info"
    metadata.mkdir()
    about = f"Metadata-Version: 2.1\nName: interop-{name}\nVersion: 0\n"
    (metadata / "METADATA").write_text(about, encoding="utf-8")
    (metadata / "entry_points.txt").write_text(f"[interop]\n{name} = {plugin}\n", encoding="utf-8")
