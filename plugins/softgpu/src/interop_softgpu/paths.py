"""Where the built libraries are, and where fetched drivers are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import interop_softgpu

LAYER = "opencl/libsoftgpu_opencl.so"
VULKAN_LAYER = "vulkan/VkLayer_softgpu_sync_fd.json"
PROBE = "lib/libsoftgpu_probe.so"
HIP = "rocm/lib/libamdhip64.so"


def native(name: str) -> Path | None:
    """Return the path of what was built (``LAYER``, ``VULKAN_LAYER``, ``PROBE``, ``HIP``), or None where it was not.

    ``INTEROP_SOFTGPU_BUILD`` names a CMake build folder that goes first. An editable install keeps the
    libraries in site-packages and the Python files in the source tree.
    """
    build = os.environ.get("INTEROP_SOFTGPU_BUILD")
    folders = [build] if build else []
    folders += [*interop_softgpu.__path__, *(f"{folder}/interop_softgpu" for folder in sys.path)]
    return next((file for file in (Path(folder, name) for folder in folders) if file.is_file()), None)


def cache() -> Path:
    """Return the folder for what is fetched and compiled: ``INTEROP_CACHE``, else ~/.cache/interop."""
    given = os.environ.get("INTEROP_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "interop"
