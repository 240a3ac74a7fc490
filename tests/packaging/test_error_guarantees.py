"""Every guarantee of the page names tests, and these exist."""

from __future__ import annotations

import ast
import re

import pytest
import software

PAGE = software.ROOT / "docs/reference/error-guarantees.md"
KIT = software.ROOT / "interop/testing/conformance"
ROWS = [line for line in PAGE.read_text(encoding="utf-8").splitlines() if re.match(r"\| (?!holds \|)", line)]
NAME = re.compile(r"`([\w/.]+)::(\w+)`")


def functions(path: str) -> set[str]:
    tree = ast.parse((software.ROOT / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def test_the_page_has_guarantees() -> None:
    assert len(ROWS) > 20


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_the_tests_of_a_guarantee_exist(row: str) -> None:
    _, sentence, tests, _ = row.split("|")
    assert sentence.strip().endswith(".")
    named = NAME.findall(tests)
    assert len(named) == tests.count("`") // 2 > 0
    for place, name in named:
        if place.endswith(".py"):
            assert name in functions(place)
        else:
            assert f"test_{name}" in functions(f"{KIT.relative_to(software.ROOT)}/test_{place}.py")
