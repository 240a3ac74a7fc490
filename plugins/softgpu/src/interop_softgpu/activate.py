"""Pointing the API loaders of this process at the software drivers.

Loaders read their environment once, when they are first used. So this is to run before any of them is
opened; where one is open already the report says so.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from interop_softgpu import paths, swiftshader
from interop_softgpu.machine import Machine, detect, nvrtc

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

VULKAN_LAYER_NAME = "VK_LAYER_SOFTGPU_sync_fd"
VulkanChoice = Literal["swiftshader", "lavapipe", "both"]
Mode = Literal["off", "on", "auto"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Available:
    """The software drivers of this machine."""

    swiftshader: Path | None = None
    lavapipe: Path | None = None
    vulkan_layer: Path | None = None
    """The manifest of the layer that gives SwiftShader sync files."""
    opencl_layer: Path | None = None
    hip: Path | None = None
    """The library; its ROCm folder is two levels up."""
    nvrtc: Path | None = None
    """NVIDIA's kernel compiler, where a Python package brings it."""
    cache: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The result of :func:`activate`. ``lines`` is for people, the other fields are for programs."""

    vulkan: bool = False
    opencl: bool = False
    hip: bool = False
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    """The variables set, with their values."""
    lines: tuple[str, ...] = ()

    def __str__(self) -> str:
        return "\n".join(self.lines)


class _Plan:
    def __init__(self, environment: Mapping[str, str]) -> None:
        self.before = environment
        self.environment: dict[str, str] = {}
        self.lines: list[str] = []

    def set(self, name: str, value: str) -> None:
        if self.before.get(name) != value:
            self.environment[name] = value

    def default(self, name: str, value: str) -> None:
        if not self.before.get(name):
            self.environment[name] = value

    def add(self, name: str, value: str, *, first: bool = False) -> None:
        """Put a value into a variable that holds a list, unless the list has it already."""
        values = [each for each in self.before.get(name, "").split(":") if each]
        if value not in values:
            self.set(name, ":".join([value, *values] if first else [*values, value]))


def activate(vulkan: VulkanChoice | None = None, *, force: bool = False) -> Report:
    """Set ``os.environ`` so that Vulkan, OpenCL and HIP find the software drivers; report what was done.

    vulkan: which Vulkan driver; by default ``INTEROP_SOFTGPU_VULKAN``, else SwiftShader with lavapipe in its
        place where it is missing.
    force: also where hardware was found, and over variables that are set already. ``INTEROP_SOFTGPU=on``
        does the same, ``INTEROP_SOFTGPU=off`` turns everything off, ``auto`` is the default.

    Idempotent. Raises ``ValueError`` for a choice or variable with an unknown value.
    """
    mode = _setting("INTEROP_SOFTGPU", "auto", Mode)
    choice = vulkan or _setting("INTEROP_SOFTGPU_VULKAN", "swiftshader", VulkanChoice)
    hip = paths.native(paths.HIP)
    available = Available(
        swiftshader=swiftshader.swiftshader(),
        lavapipe=swiftshader.lavapipe(),
        vulkan_layer=paths.native(paths.VULKAN_LAYER),
        opencl_layer=paths.native(paths.LAYER),
        hip=hip,
        nvrtc=nvrtc(),
        cache=paths.cache(),
    )
    machine = detect(os.environ, own_rocm=hip.parent.parent if hip else None)
    report = plan(machine, available, os.environ, choice=choice, mode="on" if force else mode)
    os.environ.update(report.environment)
    return report


def plan(
    machine: Machine,
    available: Available,
    environment: Mapping[str, str],
    *,
    choice: VulkanChoice,
    mode: Mode,
) -> Report:
    """Return the variables that :func:`activate` would set."""
    _check("vulkan", choice, VulkanChoice)
    if mode == "off":
        return Report()
    made = _Plan(environment)
    force = mode == "on"
    cpu = force or not machine.vulkan_hardware
    vulkan = cpu and _plan_vulkan(made, available, choice, force=force)
    opencl = cpu and _plan_opencl(made, machine, available)
    hip = _plan_hip(made, machine, available, force=force)
    if made.environment:
        made.lines += [
            f"{name} is already open in this process and may have read its environment: activate earlier"
            for name in machine.open_libraries
        ]
    return Report(
        vulkan=vulkan, opencl=opencl, hip=hip, environment=made.environment, lines=tuple(made.lines)
    )


def _plan_vulkan(made: _Plan, available: Available, choice: VulkanChoice, *, force: bool) -> bool:
    given = made.before.get("VK_DRIVER_FILES") or made.before.get("VK_ICD_FILENAMES")
    own = {str(path) for path in (available.swiftshader, available.lavapipe)}
    if given and not force and not own.issuperset(given.split(":")):
        made.lines.append(f"Vulkan: as set by the environment ({given})")
        return True
    named = {"SwiftShader (software)": available.swiftshader, "lavapipe (software)": available.lavapipe}
    wanted = {"swiftshader": [0], "lavapipe": [1], "both": [0, 1]}[choice]
    found = [item for index, item in enumerate(named.items()) if index in wanted and item[1] is not None]
    if not found and choice == "swiftshader" and available.lavapipe is not None:
        found = [("lavapipe (software, in place of SwiftShader: no shared semaphores)", available.lavapipe)]
    if not found:
        made.lines.append(
            "Vulkan: no software driver found; run `python -m interop_softgpu.fetch_swiftshader` or install "
            "mesa-vulkan-drivers"
        )
        return False
    # Older loaders know the second name only.
    for name in ("VK_DRIVER_FILES", "VK_ICD_FILENAMES"):
        made.set(name, ":".join(str(path) for _, path in found))
    made.lines.append("Vulkan: " + " and ".join(f"{label} at {path}" for label, path in found))
    if available.swiftshader in [path for _, path in found]:
        _plan_sync_files(made, available)
    return True


def _plan_sync_files(made: _Plan, available: Available) -> None:
    """Enable the layer if the switch for sync files is on."""
    if made.before.get("SOFTGPU_SEMAPHORE_HANDLES", "opaque_fd") == "opaque_fd":
        return
    if available.vulkan_layer is None:
        made.lines.append("Vulkan: the layer for sync files was not built with this package")
        return
    made.add("VK_ADD_LAYER_PATH", str(available.vulkan_layer.parent))
    made.add("VK_INSTANCE_LAYERS", VULKAN_LAYER_NAME)  # last: closest to the driver
    made.lines.append(f"Vulkan: sync files for semaphores (software) by {available.vulkan_layer}")


def _plan_opencl(made: _Plan, machine: Machine, available: Available) -> bool:
    if available.opencl_layer is None:
        made.lines.append("OpenCL: the software layer was not built with this package")
        return False
    layer = str(available.opencl_layer)
    made.add("OPENCL_LAYERS", layer, first=True)  # closest to the drivers
    made.default("POCL_CACHE_DIR", str(available.cache / "pocl"))
    made.default("PYOPENCL_NO_CACHE", "1")
    made.lines.append(f"OpenCL: shared memory and semaphores for CPU devices (software) by {layer}")
    if not machine.opencl_drivers:
        made.lines.append(
            "OpenCL: no driver is registered; install one for the CPU (Debian: pocl-opencl-icd)"
        )
    return True


def _plan_hip(made: _Plan, machine: Machine, available: Available, *, force: bool) -> bool:
    out_of_reach = machine.vulkan_hardware and not machine.nvidia  # of a HIP on the CPU: that GPU's memory
    if not force and (machine.kfd or machine.rocm is not None or out_of_reach):
        return False
    if available.hip is None:
        made.lines.append("HIP: the software runtime was not built with this package")
        return False
    folder = available.hip.parent.parent
    made.set("ROCM_PATH", str(folder))
    on_cuda = machine.nvidia and made.before.get("SOFTGPU_HIP_DEVICE") != "cpu"
    if on_cuda and available.nvrtc is not None:
        made.default("SOFTGPU_NVRTC", str(available.nvrtc))
    where = "HIP on CUDA, a stand-in for ROCm," if on_cuda else "runtime on the CPU (software)"
    made.lines.append(f"HIP: {where} at {folder}")
    if machine.rocm is not None and "rocm_sdk" in machine.rocm:
        made.lines.append(
            "HIP: the installed rocm_sdk goes before ROCM_PATH, so its runtime is used all the same"
        )
    return True


def _setting(name: str, default: str, choices: object) -> Any:
    """Return what a variable of the environment chooses."""
    value = os.environ.get(name, "").lower() or default
    _check(name, value, choices)
    return value


def _check(name: str, value: str, choices: object) -> None:
    """Raise ``ValueError`` unless ``value`` is one of the members of a ``Literal``."""
    if value not in get_args(choices):
        raise ValueError(f"{name}={value!r} is not known; choose one of {', '.join(get_args(choices))}")
