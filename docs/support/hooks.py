"""Hooks of the build: marks in pages give way to the names of the doors and to the commands."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import doors
import drawing

COMMANDS = "<!-- every command and option -->"
INDEX = "<!-- every name -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put entries, the index of names and the commands where a page asks for them."""
    markdown = drawing.BLOCK.sub(lambda block: drawing.svg(block[1]), markdown)
    markdown = doors.MARK.sub(lambda mark: entries(mark[1], mark[2]), markdown)
    if INDEX in markdown:
        markdown = markdown.replace(INDEX, index())
    return markdown.replace(COMMANDS, commands()) if COMMANDS in markdown else markdown


def entries(door: str, modules: str) -> str:
    """Return a reference entry for each name that a door takes from some modules."""
    return "\n\n".join(f"::: {name.path}" for name in doors.expand(door, modules))


def index() -> str:
    """Return a list of links for each door, names that users import from elsewhere included."""
    users = {name.home: name.path for name in doors.names("interop")}
    parts: list[str] = []
    for group, rooms in (("For users", doors.USERS), ("For backend authors", doors.AUTHORS)):
        parts.append(f"## {group}")
        for door in rooms:
            links = [
                f"[`{name.name}`][{name.path if door in doors.USERS else users.get(name.home, name.path)}]"
                for name in sorted(doors.names(door), key=lambda name: name.name.lower())
            ]
            parts += [f"### {door}", ", ".join(links)]
    return "\n\n".join(parts)


def commands() -> str:
    """Return every command of ``interop`` with its options, as Markdown."""
    from interop.cli._app import app

    group: Any = app
    parts: list[str] = []
    for name, command in group.commands.items():
        parts += [f"## interop {name}", "", command.help or "", ""]
        options = [option for option in command.params if option.name != "help"]
        if options:
            parts += ["| option | default | meaning |", "|---|---|---|"]
            parts += [f"| {_names(option)} | {_default(option)} | {_help(option)} |" for option in options]
            parts.append("")
    return "\n".join(parts)


def _names(option: Any) -> str:
    names = option.opts if option.param_type_name == "option" else [option.human_readable_name]
    return ", ".join(f"`{name}`" for name in [*names, *option.secondary_opts])


def _default(option: Any) -> str:
    return f"`{option.default}`" if isinstance(option.default, str | int | float) and option.default else ""


def _help(option: Any) -> str:
    return (option.help or "").replace("|", "\\|")
