"""From docstrings, which are plain text with roles, to pages, which are Markdown.

A griffe extension that mkdocstrings loads. Roles and names in backticks become links where the target has a page,
literal blocks lose their double colon, and simple tables become Markdown tables.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import griffe

sys.path.insert(0, str(Path(__file__).parent))
import doors

if TYPE_CHECKING:
    from collections.abc import Iterator

_ROLE = re.compile(r":(?:class|func|meth|attr|mod|data):`(~?)([\w.]+)`")
_NAME = re.compile(r"(?<![`\w\]])`([A-Za-z_][\w.]*)(?:\(\))?`(?!`)")
_RULE = re.compile(r"^(=+)( +)(=+)$")


class PlainDocstrings(griffe.Extension):
    """Rewrites every docstring of a package once it is loaded."""

    def on_package(self, *, pkg: griffe.Module, **_: Any) -> None:
        """Rewrite the docstrings of ``pkg``, and lead the names of its doors to their definitions."""
        for door in (*doors.USERS, *doors.AUTHORS):
            if door.partition(".")[0] == pkg.name:
                room = pkg[door.partition(".")[2]] if "." in door else pkg
                for name in doors.names(door):
                    # griffe takes the module links.connect for the function that links exports as connect.
                    if room.members[name.name].is_alias:
                        room.members[name.name] = griffe.Alias(name.name, name.home, parent=room)
        known: dict[str, set[str]] = {}
        everything = list(_walk(pkg))
        for thing in everything:
            known.setdefault(thing.name, set()).add(thing.path)
        for thing in everything:
            if thing.docstring is not None:
                thing.docstring.value = markdown(thing.docstring.value, thing, known)


def _walk(thing: griffe.Object) -> Iterator[griffe.Object]:
    yield thing
    for member in thing.members.values():
        if not member.is_alias and isinstance(member, griffe.Object):
            yield from _walk(member)


def markdown(text: str, thing: griffe.Object, known: dict[str, set[str]]) -> str:
    """Return a docstring as Markdown."""

    def link(found: re.Match[str]) -> str:
        target = found[2]
        shown = target.rpartition(".")[2] if found[1] else target
        path = _resolve(target, thing, known)
        return _reference(path, shown) if path else f"<code>{shown}</code>"

    def link_name(found: re.Match[str]) -> str:
        path = _resolve(found[1], thing, known) if _is_reference(found[1], thing) else None
        return _reference(path, found[0].strip("`")) if path else found[0]

    lines = _NAME.sub(link_name, _ROLE.sub(link, text)).splitlines()
    lines = [re.sub(r"::$", ":", line) for line in lines if line.strip() != "::"]
    rules = [index for index, line in enumerate(lines) if _RULE.match(line)]
    if len(rules) >= 2:  # noqa: PLR2004 - above and below
        first, last = rules[0], rules[-1]
        found = _RULE.match(lines[first])
        assert found is not None
        at = len(found[1]) + 1
        rows = [line for line in lines[first + 1 : last] if not _RULE.match(line)]
        cells = [f"| {row[:at].strip()} | {row[at:].strip()} |" for row in rows]
        lines[first : last + 1] = ["| | |", "|---|---|", *cells]
    return "\n".join(lines)


def _reference(path: str, shown: str) -> str:
    """Return a link that is plain code where the target has no entry in the reference."""
    return f'<autoref identifier="{path}" optional><code>{shown}</code></autoref>'


def _is_reference(name: str, thing: griffe.Object) -> bool:
    """Whether a name in backticks may be a link: a class, a dotted name, or another method of the same class."""
    if name in {thing.name, "None", "True", "False"}:
        return False
    if "." in name or name[0].isupper():
        return True
    if isinstance(thing, griffe.Function) and name in thing.parameters:
        return False
    around = thing if isinstance(thing, griffe.Class) else thing.parent
    return isinstance(around, griffe.Class) and isinstance(around.members.get(name), griffe.Function)


def _resolve(target: str, thing: griffe.Object, known: dict[str, set[str]]) -> str | None:
    """Return the full path of what a role names: as written, in the class, in the module, or anywhere."""
    places = known.get(target.rpartition(".")[2], set())
    around: griffe.Object | None = thing
    while around is not None:
        if f"{around.path}.{target}" in places:
            return f"{around.path}.{target}"
        around = around.parent
    fitting = [place for place in places if place == target or place.endswith(f".{target}")]
    return fitting[0] if len(fitting) == 1 else None
