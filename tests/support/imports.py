"""What a process has open and imported after some use of the package."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from typing import Any

_DRIVERS = re.compile(
    r"/[^ ]*(?:vulkan|opencl|pocl|amdhip|hiprtc|amd_comgr|libcuda|nvrtc|swiftshader|lvp|softgpu)[^ /]*$",
    re.IGNORECASE,
)


def _opened() -> dict[str, Any]:
    maps = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    files = {line.split(maxsplit=5)[-1] for line in maps if "/" in line}
    modules = {name.partition(".")[0] for name in list(sys.modules)}
    own = {"interop", "fresh", "imports", "sitecustomize", "usercustomize"}
    return {
        "libraries": sorted(file for file in files if _DRIVERS.search(file)),
        "third party": sorted(
            name
            for name in modules - set(sys.stdlib_module_names) - own
            if not name.startswith(("_", "interop_"))
        ),
    }


def after_import() -> dict[str, Any]:
    """Import the package."""
    before = set(_opened()["third party"])  # the interpreter's own start may import something
    __import__("interop")
    found = _opened()
    return {**found, "third party": sorted(set(found["third party"]) - before)}


def after_listing() -> dict[str, Any]:
    """List the backends and the plugins that failed."""
    before = set(_opened()["third party"])
    from interop import registry

    backends = sorted(registry.backends())
    failures = [(failure.plugin, str(failure)) for failure in registry.failures()]
    found = _opened()
    third_party = sorted(set(found["third party"]) - before)
    return {**found, "third party": third_party, "backends": backends, "failures": failures}


def after_opening() -> dict[str, Any]:
    """Open a driver, which must be noticed."""
    from interop import registry

    registry.load_backend("vulkan").devices()
    return _opened()


def cost() -> int:
    """Return the bytecode instructions that an import of the package takes."""
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
    instructions = importlib.import_module("instructions")
    assert "interop" not in sys.modules
    return int(instructions.instructions(lambda: importlib.import_module("interop")))


def until_first_frame(consumer: str) -> dict[str, Any]:
    """Connect and send one frame by the best means; return what the import of the package had not loaded by then."""
    import interop

    before = set(sys.modules)
    with interop.connect("vulkan", consumer) as link:
        buffer = link.buffer(16, "uint32")
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 7)
        found = bytearray(buffer.nbytes)
        with link.consumer_turn(buffer) as view:
            view.read(found, timeout=10)
        loaded = sorted(set(sys.modules) - before)
        return {"words": list(memoryview(found).cast("I")), "sync": link.explain(), "loaded": loaded}
