"""The house: its rooms, doors and arrows, and that the check finds what breaks them."""

from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import house
import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("rule", house.RULES, ids=lambda rule: rule.__name__)
def test_the_house_is_in_order(rule: Callable[[house.House], list[str]]) -> None:
    assert list(rule(house.read(ROOT))) == []


def test_every_door_gives_what_it_names() -> None:
    """The lazy doors too: each name of ``__all__`` is there at run time."""
    for room in house.ROOMS:
        package = __import__(f"interop.{room}", fromlist=["__all__"])
        assert sorted(package.__all__) == list(package.__all__) or package.__all__
        for name in package.__all__:
            assert getattr(package, name) is not None, f"interop.{room}.{name}"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Give a copy of the installed code, to sin in."""
    leave = shutil.ignore_patterns("__pycache__", "*.pyc", "native")
    for folder in ("interop", "backends", "plugins"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=leave)
    assert house.violations(tmp_path) == []
    return tmp_path


def _append(file: Path, line: str) -> int:
    """Add a line at the end of a file and return its number."""
    text = file.read_text(encoding="utf-8")
    file.write_text(text + line + "\n", encoding="utf-8")
    return text.count("\n") + 1


def test_a_circle_is_found_with_the_lines_that_tie_it(copy: Path) -> None:
    line = (
        _append(
            copy / "interop/protocols/errors.py", "def sin() -> None:\n    import interop.protocols.handles"
        )
        + 1
    )
    [found] = house.violations(copy)
    assert re.match(r"\d+ files import each other: ", found)
    assert f"interop/protocols/errors.py:{line} imports interop.protocols.handles" in found
    assert "imports interop.protocols.errors" in found


def test_a_backend_that_imports_links_is_found(copy: Path) -> None:
    line = _append(copy / "backends/interop_hip/backend.py", "from interop.links import Link")
    assert house.violations(copy) == [
        f"backends/interop_hip/backend.py:{line}: interop_hip must not import links (interop.links)"
    ]


def test_a_symbol_with_two_doors_is_found(copy: Path) -> None:
    door = copy / "interop/negotiation/__init__.py"
    text = door.read_text(encoding="utf-8")
    text = text.replace(
        "__all__ = [", 'from interop.protocols import Handle\n\n__all__ = [\n    "Handle",', 1
    )
    door.write_text(text, encoding="utf-8")
    found = house.violations(copy)
    assert (
        "interop/negotiation/__init__.py: Handle has a second door: interop.protocols exports it too" in found
    )
    assert "Handle has two doors: interop.protocols and interop.negotiation" in found


def test_an_import_past_a_door_is_found(copy: Path) -> None:
    line = _append(
        copy / "backends/interop_hip/backend.py", "from interop.protocols.errors import HandleError"
    )
    assert house.violations(copy) == [
        (
            f"backends/interop_hip/backend.py:{line}: interop.protocols.errors is inside protocols;"
            " import from its door, interop.protocols"
        )
    ]


def test_a_class_name_that_is_given_twice_is_found(copy: Path) -> None:
    line = _append(copy / "interop/links/buffers.py", "class Handle:\n    pass")
    [found] = house.violations(copy)
    assert (
        f"interop/links/buffers.py:{line}: class Handle is also at interop/protocols/handles.py:" in found
        or (f"class Handle is also at interop/links/buffers.py:{line}" in found)
    )
