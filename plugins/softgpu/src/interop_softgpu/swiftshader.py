"""Finding the Vulkan drivers for the CPU: SwiftShader, and Mesa's lavapipe."""

from __future__ import annotations

import json
import os
from pathlib import Path

from interop_softgpu import paths

LIBRARY = "libvk_swiftshader.so"
MANIFEST = "vk_swiftshader_icd.json"

_SYSTEM_FOLDERS = (
    "/usr/lib/chromium",
    "/usr/lib64/chromium-browser",
    "/usr/lib/chromium-browser",
    "/opt/google/chrome",
    "/usr/lib/swiftshader",
)


def swiftshader() -> Path | None:
    """Return the manifest of a SwiftShader, or None.

    Looked for in this order: ``INTEROP_SWIFTSHADER`` (a manifest, a library or their folder), what
    ``python -m interop_softgpu.fetch_swiftshader`` put into the cache (newest first), the system's Chromium.
    """
    given = os.environ.get("INTEROP_SWIFTSHADER")
    if given:
        path = Path(given)
        if path.suffix == ".json":
            return path if path.is_file() else None
        return _manifest_of(path if path.is_dir() else path.parent)
    fetched = (paths.cache() / "swiftshader").glob("*")
    newest_first = sorted(fetched, key=lambda folder: folder.stat().st_mtime_ns, reverse=True)
    found = map(_manifest_of, [*newest_first, *map(Path, _SYSTEM_FOLDERS)])
    return next(filter(None, found), None)


def lavapipe() -> Path | None:
    """Return the manifest of Mesa's Vulkan driver for the CPU, or None."""
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [Path(folder) / "vulkan/icd.d" for folder in ["/etc", *data.split(":")]]
    return next((path for folder in folders for path in sorted(folder.glob("lvp_icd*.json"))), None)


def write_manifest(library: Path, folder: Path) -> Path:
    """Write a manifest that names ``library`` into ``folder`` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    manifest = folder / MANIFEST
    content = {"file_format_version": "1.0.0", "ICD": {"library_path": str(library), "api_version": "1.3.0"}}
    manifest.write_text(json.dumps(content) + "\n")
    return manifest


def _manifest_of(folder: Path) -> Path | None:
    library = folder / LIBRARY
    if not library.is_file():
        return None
    manifest = folder / MANIFEST
    if manifest.is_file():
        return manifest
    # Some packages hold the library alone.
    return write_manifest(library, paths.cache() / "swiftshader-system")
