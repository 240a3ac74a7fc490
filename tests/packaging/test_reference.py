"""Each name of a door has one entry in the reference, under the name that its readers import."""

from __future__ import annotations

from collections import Counter

import doors
import pytest
import software

DOCS = software.ROOT / "docs"

MARKS: list[tuple[str, str, str]] = [
    (str(page.relative_to(DOCS)), mark[1], mark[2])
    for page in sorted((DOCS / "reference").rglob("*.md"))
    for mark in doors.MARK.finditer(page.read_text(encoding="utf-8"))
]


@pytest.mark.parametrize("door", [*doors.USERS, *doors.AUTHORS])
def test_every_name_of_a_door_has_one_entry(door: str) -> None:
    entries = Counter(name.home for _, place, modules in MARKS for name in doors.expand(place, modules))
    wanted = doors.names(door)
    assert wanted
    for name in wanted:
        assert entries[name.home] == 1, (
            f"{name.path} has {entries[name.home]} entries; name its module {name.module} in the mark of one page"
        )


def test_pages_for_users_and_for_authors_stand_apart() -> None:
    for page, door, _ in MARKS:
        assert page.startswith("reference/authors/") is (door in doors.AUTHORS), page


def test_no_entry_is_written_outside_a_mark() -> None:
    """A page that names a module by hand could show internal names."""
    for page in DOCS.rglob("*.md"):
        assert "\n::: " not in page.read_text(encoding="utf-8"), page


def test_every_module_of_a_mark_gives_its_door_a_name() -> None:
    stale = [
        f"{page}: {module}"
        for page, door, modules in MARKS
        for module in modules.split()
        if module != "*" and not doors.expand(door, module)
    ]
    assert not stale, (
        f"these modules give their door no name to document; remove them from the marks: {stale}"
    )


def test_a_name_without_a_definition_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doors, "_exported", lambda _: ["nothing"])
    with pytest.raises(LookupError, match=r"interop\.toolkit exports 'nothing'"):
        doors.names("interop.toolkit")
