"""The stand-in for NVIDIA's driver (libcuda.c), built for processes that name its folder in LD_LIBRARY_PATH."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

SOURCE = Path(__file__).with_name("libcuda.c")


def build(folder: Path) -> Path:
    """Build ``libcuda.so.1`` into a folder, and return the folder."""
    command = ["cc", "-std=c11", "-Wall", "-Wextra", "-Werror", "-O1", "-shared", "-fPIC"]
    command += ["-Wl,-soname,libcuda.so.1", "-o", str(folder / "libcuda.so.1"), str(SOURCE)]
    subprocess.run([*command, "-lpthread", "-ldl"], check=True, timeout=60)
    return folder


def search(folder: Path) -> str:
    """Return ``LD_LIBRARY_PATH`` with that folder first; the rest of it is where unpacked packages are."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get("LD_LIBRARY_PATH")])])
