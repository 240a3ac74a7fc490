"""Where the built libraries are, and where fetched drivers are kept."""

from __future__ import annotations

import os
import sysconfig
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
    folders = [Path(folder) for folder in interop_softgpu.__path__]
    folders += [Path(sysconfig.get_path(kind)) / "interop_softgpu" for kind in ("platlib", "purelib")]
    build = os.environ.get("INTEROP_SOFTGPU_BUILD")
    if build:
        folders.insert(0, Path(build))
    return next((folder / name for folder in folders if (folder / name).is_file()), None)


def cache() -> Path:
    """Return the folder for what is fetched and compiled: ``INTEROP_CACHE``, else ~/.cache/interop."""
    given = os.environ.get("INTEROP_CACHE")
    if given:
        return Path(given)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "interop"
