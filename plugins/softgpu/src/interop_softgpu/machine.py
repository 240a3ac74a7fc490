"""Detection of GPU hardware and drivers by files alone. No driver is opened."""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

LOADERS = ("libvulkan.so", "libOpenCL", "libamdhip64.so", "libhiprtc.so")


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """The hardware and drivers found before any set-up."""

    render_nodes: tuple[str, ...] = ()
    """Names in /dev/dri of nodes that a Vulkan driver may open."""
    nvidia: bool = False
    kfd: bool = False
    rocm: str | None = None
    """How a real ROCm was recognised, or None."""
    opencl_drivers: tuple[str, ...] = ()
    """Vendor files of OpenCL drivers."""
    open_libraries: tuple[str, ...] = ()
    """API loaders that this process has opened already. They may have read the environment."""

    @property
    def vulkan_hardware(self) -> bool:
        """Whether a hardware Vulkan driver can be expected."""
        return bool(self.render_nodes) or self.nvidia


def detect(
    environment: Mapping[str, str], *, own_rocm: Path | None, root: Path = Path("/"), maps: Path | None = None
) -> Machine:
    """Look at ``root`` (the file system), ``maps`` (by default of this process) and ``environment``."""
    devices = root / "dev"
    return Machine(
        render_nodes=tuple(sorted(node.name for node in (devices / "dri").glob("renderD*"))),
        nvidia=any((devices / name).exists() for name in ("nvidia0", "nvidiactl")),
        kfd=(devices / "kfd").exists(),
        rocm=_real_rocm(environment, own_rocm, root),
        opencl_drivers=_opencl_drivers(environment, root),
        open_libraries=_open_libraries(maps or root / "proc/self/maps"),
    )


def nvrtc() -> Path | None:
    """Return the newest NVRTC that a Python package of NVIDIA brings; toolkits the HIP runtime finds itself."""
    try:
        package = importlib.util.find_spec("nvidia")
    except (ImportError, ValueError):
        return None
    folders = [Path(folder) for folder in (package.submodule_search_locations or ())] if package else []
    found = [path for folder in folders for path in folder.glob("cu*/lib/libnvrtc.so.[0-9]*")]
    return max(found, key=lambda path: int(path.suffix[1:]), default=None)


def _real_rocm(environment: Mapping[str, str], own: Path | None, root: Path) -> str | None:
    given = environment.get("ROCM_PATH")
    if given and (own is None or Path(given).resolve() != own.resolve()):
        return f"ROCM_PATH={given}"
    if root == Path("/") and importlib.util.find_spec("rocm_sdk") is not None:
        return "the Python package rocm_sdk"
    installed = root / "opt/rocm/lib/libamdhip64.so"
    return str(installed) if installed.exists() else None


def _opencl_drivers(environment: Mapping[str, str], root: Path) -> tuple[str, ...]:
    given = environment.get("OCL_ICD_VENDORS")
    folder = Path(given) if given else root / "etc/OpenCL/vendors"
    if folder.is_dir():
        return tuple(sorted(file.name for file in folder.glob("*.icd")))
    return (folder.name,) if given and folder.exists() else ()


def _open_libraries(maps: Path) -> tuple[str, ...]:
    try:
        text = maps.read_text()
    except OSError:
        return ()
    names = {line.rpartition("/")[2] for line in text.splitlines() if "/" in line}
    return tuple(sorted(name for name in names if name.startswith(LOADERS)))
