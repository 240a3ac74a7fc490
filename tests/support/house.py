"""The rules of the house, read from the imports of every file: rooms, doors and circles.

Every import counts, also those for type checkers alone and those inside functions. A violation is one line of text
that names file and line.
"""

from __future__ import annotations

import ast
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ROOMS = {
    "protocols": frozenset[str](),
    "toolkit": frozenset({"protocols"}),
    "registry": frozenset({"protocols"}),
    "negotiation": frozenset({"protocols"}),
    "links": frozenset({"protocols", "toolkit", "negotiation", "registry"}),
    "ipc": frozenset({"protocols", "toolkit", "negotiation", "registry"}),
    "cli": frozenset({"protocols", "toolkit", "negotiation", "registry", "links", "interop"}),
    "testing": frozenset({"protocols", "toolkit", "negotiation", "registry", "links", "interop"}),
}
"""Each room of ``interop`` and the rooms it may import from; ``interop`` stands for the users' door."""
USERS_DOOR = frozenset({"protocols", "toolkit", "negotiation", "registry", "links"})
"""What ``interop/__init__.py`` may import from."""
COMMAND_LINE = frozenset({"cli"})
"""What ``interop/__main__.py`` may import from."""
BACKEND = frozenset({"protocols", "toolkit"})
"""What a backend may import from."""
MODULES_AS_OBJECTS = {("interop.registry.plugins", "interop.protocols.hookspecs")}
"""Imports past a door that are allowed: pluggy's ``add_hookspecs`` takes the module itself."""
PYTEST = ("interop.testing.plugin", "interop.testing.conformance.")
"""Modules that pytest loads by their path; no door exports them."""


@dataclass(frozen=True)
class Import:
    """One imported module or name."""

    file: Path
    line: int
    source: str
    """The importing module."""
    target: str
    """The imported module, or the package whose door gives :attr:`name`."""
    name: str
    """The imported name; empty for a module."""


@dataclass
class House:
    """All modules of a checkout that are installed, and their imports."""

    root: Path
    modules: dict[str, Path] = field(default_factory=dict[str, "Path"])
    imports: list[Import] = field(default_factory=list[Import])

    def where(self, module: str) -> str:
        """Return the file of a module, relative to the checkout."""
        return str(self.modules[module].relative_to(self.root))


def read(root: Path) -> House:
    """Read every module below ``interop``, ``backends`` and ``plugins/*/src``."""
    house = House(root)
    for base in (root, root / "backends", *sorted(root.glob("plugins/*/src"))):
        for package in sorted(base.glob("interop*")):
            for file in sorted(package.rglob("*.py")):
                parts = file.relative_to(base).with_suffix("").parts
                house.modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    for module, file in house.modules.items():
        tree = ast.parse(file.read_text(encoding="utf-8"), str(file))
        for node in ast.walk(tree):
            house.imports.extend(_imports(house, module, file, node))
    return house


def _imports(house: House, module: str, file: Path, node: ast.AST) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            if alias.name in house.modules:
                yield Import(file, node.lineno, module, alias.name, "")
    elif isinstance(node, ast.ImportFrom) and node.module in house.modules:
        assert node.module is not None
        for alias in node.names:
            inner = f"{node.module}.{alias.name}"
            if inner in house.modules and not _defines(house, node.module, alias.name):
                yield Import(file, node.lineno, module, inner, "")
            else:
                yield Import(file, node.lineno, module, node.module, alias.name)


def _defines(house: House, package: str, name: str) -> bool:
    """Whether a package's ``__init__.py`` binds a name that is also the name of one of its modules."""
    file = house.modules[package]
    return file.name == "__init__.py" and name in door(file)


def room_of(module: str) -> str:
    """Return the room of a module; ``interop`` for the users' door, the package's name for a backend."""
    parts = module.split(".")
    return parts[1] if parts[0] == "interop" and len(parts) > 1 else parts[0]


def door(file: Path) -> tuple[str, ...]:
    """Return ``__all__`` of a door, with what ``+=`` adds to it; empty where there is none."""
    names: list[str] = []
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        targets = node.targets if isinstance(node, ast.Assign) else []
        targets = [node.target] if isinstance(node, ast.AugAssign) else targets
        if any(isinstance(target, ast.Name) and target.id == "__all__" for target in targets):
            assert isinstance(node, (ast.Assign, ast.AugAssign))
            names += ast.literal_eval(node.value)
    return tuple(names)


def _line(house: House, each: Import, rule: str) -> str:
    return f"{each.file.relative_to(house.root)}:{each.line}: {rule}"


def wrong_arrows(house: House) -> Iterator[str]:
    """Yield each import that crosses two rooms where the design draws no arrow, or passes a door by."""
    for each in house.imports:
        here, there = room_of(each.source), room_of(each.target)
        if here == there:
            continue
        if not each.target.startswith("interop.") and each.target != "interop":
            yield _line(house, each, f"{here} imports {each.target}, a package of its own")
            continue
        if each.source == "interop":
            allowed = USERS_DOOR
        elif each.source == "interop.__main__":
            allowed = COMMAND_LINE
        else:
            allowed = ROOMS.get(here, BACKEND)
        if there not in allowed:
            yield _line(house, each, f"{here} must not import {there} ({each.target})")
        elif each.target.count(".") > 1 and (each.source, each.target) not in MODULES_AS_OBJECTS:
            yield _line(
                house, each, f"{each.target} is inside {there}; import from its door, interop.{there}"
            )


def closed_doors(house: House) -> Iterator[str]:
    """Yield each import that reaches into a closed room of another room's inside, such as ``links.rings``."""
    inner = {m for m, f in house.modules.items() if f.name == "__init__.py" and m.count(".") == 2}
    for each in house.imports:
        for package in inner:
            inside = each.target.startswith(f"{package}.")
            if inside and each.source != package and not each.source.startswith(f"{package}."):
                yield _line(house, each, f"{each.target} is inside {package}; import from that door")


def circles(house: House) -> Iterator[str]:
    """Yield each group of files that import each other, with one line of each."""
    edges: dict[str, dict[str, Import]] = defaultdict(dict)
    for each in house.imports:
        if each.target != each.source:
            edges[each.source].setdefault(each.target, each)
    for group in _components(house.modules, edges):
        ties = [
            f"{each.file.relative_to(house.root)}:{each.line} imports {target}"
            for source in sorted(group)
            for target, each in edges[source].items()
            if target in group
        ]
        yield f"{len(group)} files import each other: " + "; ".join(ties)


def _components(nodes: Iterable[str], edges: dict[str, dict[str, Import]]) -> Iterator[set[str]]:
    """Yield the strongly connected components of more than one node (Tarjan, without recursion)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    standing: set[str] = set()
    for root in nodes:
        if root in index:
            continue
        work = [(root, iter(edges[root]))]
        index[root] = low[root] = len(index)
        stack.append(root)
        standing.add(root)
        while work:
            node, following = work[-1]
            after = next(following, None)
            if after is not None:
                if after not in index:
                    index[after] = low[after] = len(index)
                    stack.append(after)
                    standing.add(after)
                    work.append((after, iter(edges[after])))
                elif after in standing:
                    low[node] = min(low[node], index[after])
                continue
            work.pop()
            if work:
                low[work[-1][0]] = min(low[work[-1][0]], low[node])
            if low[node] == index[node]:
                group: set[str] = set()
                while node not in group:
                    group.add(stack.pop())
                standing -= group
                if len(group) > 1:
                    yield group


def second_doors(house: House) -> Iterator[str]:
    """Yield each public symbol that two rooms export, and each name in a door that the door does not import.

    The users' door ``interop`` passes on symbols of rooms; a room passes on symbols of the closed rooms inside it.
    """
    owners: dict[str, list[str]] = defaultdict(list)
    for room in ROOMS:
        package = f"interop.{room}"
        file = house.modules[package]
        given = {each.name: each.target for each in house.imports if each.source == package and each.name}
        given |= {
            node.name: package
            for node in ast.parse(file.read_text()).body
            if isinstance(node, ast.FunctionDef)
        }
        for name in door(file):
            if name not in given:
                yield f"{file.relative_to(house.root)}: __all__ names {name}, which the door does not import"
                continue
            if room_of(given[name]) != room:
                yield f"{file.relative_to(house.root)}: {name} has a second door: {given[name]} exports it too"
            owners[name].append(package)
    for name, packages in owners.items():
        if len(packages) > 1:
            yield f"{name} has two doors: {' and '.join(packages)}"


def unnamed_insides(house: House) -> Iterator[str]:
    """Yield modules whose name does not tell whether their room's door exports something of them."""
    for module, file in house.modules.items():
        package, _, leaf = module.rpartition(".")
        if file.name == "__init__.py" or package.count(".") < 1 or not module.startswith("interop."):
            continue
        if module.startswith(PYTEST) or leaf == "__main__":
            continue
        exported = any(
            each.source == package and each.target == module and each.name in door(house.modules[package])
            for each in house.imports
        )
        outer = package.rpartition(".")[0]
        exported = exported or any(
            each.source == outer and each.target == module and each.name in door(house.modules[outer])
            for each in house.imports
        )
        where = file.relative_to(house.root)
        if exported and leaf.startswith("_"):
            yield f"{where}: its door exports something of it, so it takes no underscore"
        if not exported and not leaf.startswith("_"):
            yield f"{where}: no door exports anything of it, so its name starts with an underscore"


def same_names(house: House) -> Iterator[str]:
    """Yield each class name that is given twice in ``interop/``."""
    seen: dict[str, str] = {}
    for module, file in house.modules.items():
        if not module.startswith("interop.") or module.startswith(PYTEST):
            continue
        for node in ast.parse(file.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef):
                place = f"{file.relative_to(house.root)}:{node.lineno}"
                if node.name in seen:
                    yield f"{place}: class {node.name} is also at {seen[node.name]}"
                seen.setdefault(node.name, place)


RULES = (wrong_arrows, closed_doors, circles, second_doors, unnamed_insides, same_names)


def violations(root: Path) -> list[str]:
    """Return everything in a checkout that breaks a rule of the house."""
    house = read(root)
    return [found for rule in RULES for found in rule(house)]
