"""Importing the package is cheap and opens nothing; a broken plugin leaves the others alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fresh
import imports

if TYPE_CHECKING:
    from pathlib import Path

MOST = 8_000
"""Bytecode instructions of the import, which loads no room. Times would say how busy the machine is."""


def test_importing_takes_few_instructions() -> None:
    found = fresh.call(imports.cost)
    assert 1_000 < found < MOST


def test_importing_opens_no_driver_and_no_binding() -> None:
    found = fresh.call(imports.after_import)
    assert found["libraries"] == []
    assert found["third party"] == []


def test_listing_the_backends_opens_no_driver_and_no_binding() -> None:
    found = fresh.call(imports.after_listing)
    assert {"vulkan", "opencl", "hip"} <= set(found["backends"])
    assert found["failures"] == []
    assert found["libraries"] == []
    assert set(found["third party"]) <= {"pluggy"}


def test_the_probe_notices_what_is_open() -> None:
    found = fresh.call(imports.after_opening)
    assert any("libvulkan" in library for library in found["libraries"])
    assert "vulkan" in found["third party"]


def broken_plugin(folder: Path, name: str, code: str) -> dict[str, str]:
    """Install a distribution into a folder, as pip would, and return an environment that sees it."""
    (folder / f"{name}.py").write_text(code, encoding="utf-8")
    metadata = folder / f"interop_{name}-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: interop-{name}\nVersion: 1.0\n")
    (metadata / "entry_points.txt").write_text(f"[interop]\n{name} = {name}\n")
    path = fresh.environment()["PYTHONPATH"]
    return {"PYTHONPATH": f"{folder}:{path}"}


HOOK = "from interop.protocols.hookspecs import hookimpl\n"
BROKEN = {
    "raises": ("raise RuntimeError('I am broken')", "RuntimeError: I am broken"),
    "exits": ("import a_package_that_is_not_there", "a_package_that_is_not_there"),
    "misspelt": (HOOK + "@hookimpl\ndef interop_register_backend(): return []", "interop_register_backend"),
    "nonsense": (HOOK + "@hookimpl\ndef interop_register_backends(): return [42]", "42"),
    "hook_raises": (HOOK + "@hookimpl\ndef interop_register_backends(): 1 / 0", "division by zero"),
}


def test_a_broken_plugin_leaves_the_others_working(tmp_path: Path) -> None:
    changes: dict[str, str] = {}
    for name, (code, _) in BROKEN.items():
        (tmp_path / name).mkdir()
        environment = broken_plugin(tmp_path / name, name, code)
        path = [*changes.get("PYTHONPATH", "").split(":"), environment["PYTHONPATH"]]
        changes = {"PYTHONPATH": ":".join(filter(None, path))}
    found: dict[str, Any] = fresh.call(imports.after_listing, changes)
    assert {"vulkan", "opencl", "hip"} <= set(found["backends"])
    failures = dict(found["failures"])
    assert set(failures) == set(BROKEN)
    for name, (_, reason) in BROKEN.items():
        assert reason in failures[name]
        assert f"interop-{name}" in failures[name]
