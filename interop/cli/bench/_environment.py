"""Where figures were measured."""

from __future__ import annotations

import os
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from interop.cli._doctor import host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from interop.protocols import DeviceInfo

_VARIABLES = ("CUDA_DEVICE_MAX_CONNECTIONS", "INTEROP_CHECK", "VK_INSTANCE_LAYERS")
"""What changes figures."""


def machine(devices: Mapping[str, DeviceInfo]) -> dict[str, Any]:
    """Return what figures depend on: processor, load, versions, devices and their drivers."""
    return {
        "cpus": os.cpu_count() or 1,
        "processor": _processor(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        **host(),
        "devices": {name: f"{device.name}, {device.driver}".strip(", ") for name, device in devices.items()},
        "variables": {name: os.environ[name] for name in _VARIABLES if name in os.environ},
    }


def _processor() -> str:
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return platform.processor()
    names = [line.partition(":")[2].strip() for line in text.splitlines() if line.startswith("model name")]
    return names[0] if names else platform.processor()
