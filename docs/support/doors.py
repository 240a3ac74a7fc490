"""The doors of the rooms, read from their source: which names each exports, and where each name is defined.

Nothing is imported: the toolkit's door is lazy, and a build of the pages needs no driver.
"""

from __future__ import annotations

import ast
import functools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
USERS = ("interop", "interop.ipc", "interop_vulkan")
AUTHORS = (
    "interop.protocols",
    "interop.toolkit",
    "interop.registry",
    "interop.negotiation",
    "interop.testing",
)
MARK = re.compile(r"^<!-- names of ([\w.]+): ([\w. *]+) -->$", re.MULTILINE)
"""Stands in a page where the names belong that a door takes from these modules; ``*`` means all other modules."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Name:
    """One name of a door."""

    door: str
    name: str
    module: str
    """Full name of the module that defines it."""
    line: int
    """Where it is defined there."""

    @property
    def path(self) -> str:
        """The name as users import it."""
        return f"{self.door}.{self.name}"

    @property
    def home(self) -> str:
        """The name where it is defined, by which two doors' names are compared."""
        return f"{self.module}.{self.name}"


def names(door: str) -> list[Name]:
    """Return the names of a door, in the order of their definition.

    Args:
        door: Full name of a package, such as ``"interop.toolkit"``.

    Raises:
        LookupError: The door exports a name that it neither imports nor defines.
    """
    found: list[Name] = []
    for name in _exported(door):
        module, line = _definition(door, name)
        found.append(Name(door=door, name=name, module=module, line=line))
    return sorted(found, key=lambda each: (each.module, each.line))


def documented(door: str) -> list[Name]:
    """Return the names of a door that have an entry under it.

    A name that users import from their own door has its entry there, and no second one.
    """
    own = names(door)
    if door in USERS:
        return own
    users = {each.home for each in names("interop")}
    return [each for each in own if each.home not in users]


def expand(door: str, modules: str) -> list[Name]:
    """Return the names that a mark in a page stands for.

    Args:
        door: The door of the mark.
        modules: Modules relative to the door, separated by spaces; ``.`` is the door's own file. ``*`` stands for
            all modules that no mark of this door names.
    """
    named = {_full(door, module) for place, listed in marks() if place == door for module in listed.split()}
    own = documented(door)
    found: list[Name] = []
    for module in modules.split():
        full = _full(door, module)
        found += [
            each for each in own if (each.module not in named if module == "*" else each.module == full)
        ]
    return found


def marks() -> list[tuple[str, str]]:
    """Return door and modules of every mark in the reference."""
    pages = sorted((ROOT / "docs" / "reference").rglob("*.md"))
    return [(mark[1], mark[2]) for page in pages for mark in MARK.finditer(page.read_text(encoding="utf-8"))]


def _full(door: str, module: str) -> str:
    return door if module == "." else f"{door}.{module}"


@functools.cache
def _tree(module: str) -> ast.Module:
    return ast.parse(_file(module).read_text(encoding="utf-8"))


def _file(module: str) -> Path:
    base = ROOT / "backends" if module.startswith("interop_") else ROOT
    path = base.joinpath(*module.split("."))
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def _exported(door: str) -> list[str]:
    listed: list[str] = []
    for node in _tree(door).body:
        if isinstance(node, ast.Assign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if any(ast.unparse(target) == "__all__" for target in targets):
                listed += ast.literal_eval(node.value)
    if not listed:
        raise LookupError(f"{_file(door)} has no __all__")
    return listed


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """Yield the statements of a module, those below an ``if`` included."""
    for node in body:
        yield node
        if isinstance(node, ast.If):
            yield from _statements([*node.body, *node.orelse])


@functools.cache
def _definition(module: str, name: str) -> tuple[str, int]:
    """Return the module and line that define a name, following imports from door to module."""
    tree = _tree(module)
    for node in _statements(tree.body):
        match node:
            case ast.ClassDef() | ast.FunctionDef() if node.name == name:
                return module, node.lineno
            case ast.Assign() if name in map(ast.unparse, node.targets):
                return module, node.lineno
            case ast.AnnAssign() if ast.unparse(node.target) == name:
                return module, node.lineno
            case _:
                pass
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom) and found.module is not None:
            for each in found.names:
                if (each.asname or each.name) == name:
                    return _definition(found.module, each.name)
    raise LookupError(f"{module} exports {name!r}, but neither imports nor defines it")
