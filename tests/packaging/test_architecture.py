"""The page about the architecture: its files and functions exist, and its arrows are those that the imports keep."""

from __future__ import annotations

import ast
import functools
import itertools
import re

import drawing
import house
import pytest
import software

PAGE = (software.ROOT / "docs/explanation/architecture.md").read_text(encoding="utf-8")
NAMED = re.findall(r"`([\w/]+\.py)::([\w.]+)`", PAGE)
ROW = re.compile(r"^\| `(\w+)` \| [^|]* \| ([^|]*) \|$", re.MULTILINE)
ALL = {**house.ROOMS, "interop": house.USERS_DOOR, "backends": house.BACKEND}


@functools.cache
def names(file: str) -> frozenset[str]:
    """Classes and functions of a file, methods as ``Class.method``."""
    found: set[str] = set()

    def collect(node: ast.AST, prefix: str) -> None:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.ClassDef | ast.FunctionDef):
                found.add(prefix + child.name)
            if isinstance(child, ast.ClassDef):
                collect(child, f"{prefix}{child.name}.")

    collect(ast.parse((software.ROOT / file).read_text(encoding="utf-8")), "")
    return frozenset(found)


def test_both_ways_are_described() -> None:
    assert len(NAMED) > 25
    assert len(NAMED) == PAGE.count("::")


@pytest.mark.parametrize(("file", "name"), sorted(set(NAMED)))
def test_a_named_function_exists(file: str, name: str) -> None:
    assert name in names(file), f"docs/explanation/architecture.md names {name}, which {file} does not define"


def test_the_table_of_rooms_is_that_of_the_imports() -> None:
    table = dict(ROW.findall(PAGE))
    assert set(table) == set(house.ROOMS)
    for room, cell in table.items():
        may = house.ROOMS[room]
        if cell.startswith("every room above, except"):
            without = set(re.findall(r"`(\w+)`", cell.partition(";")[0]))
            above = set(list(table)[: list(table).index(room)]) - without
            assert cell.endswith("and `interop`")
            assert may == above | {"interop"}, room
        else:
            assert may == set(re.findall(r"`(\w+)`", cell)), room


def test_the_arrows_of_the_drawing_are_allowed() -> None:
    block = drawing.BLOCK.search(PAGE)
    assert block is not None
    drawn = drawing.parse(block[1])
    assert {name for row in drawn.rows for name, _ in row} == set(ALL)
    for source, target in drawn.arrows:
        assert target in ALL[source], f"{source} -> {target}"
    rows = [[name for name, _ in row] for row in drawn.rows]
    for upper, lower in itertools.pairwise(rows):
        for source in upper:
            missing = {target for target in lower if target in ALL[source]} - {
                target for start, target in drawn.arrows if start == source
            }
            assert not missing, f"no arrow from {source} to {missing}"


def test_an_arrow_that_leads_nowhere_is_refused() -> None:
    with pytest.raises(ValueError, match="a -> c"):
        drawing.parse("a: one\nb: two\na -> c")


def test_a_drawing_shows_every_box_and_arrow() -> None:
    svg = drawing.svg("a: one | b: two\nc: <three>\na -> c\nb -> c")
    assert svg.count("<rect ") == 3
    assert svg.count("marker-end=") == 2
    assert "&lt;three&gt;" in svg
