"""Hooks of the build: the page of the command line is made from the commands themselves."""

from __future__ import annotations

from typing import Any

MARK = "<!-- every command and option -->"


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Put the commands where a page asks for them."""
    return markdown.replace(MARK, commands()) if MARK in markdown else markdown


def commands() -> str:
    """Return every command of ``interop`` with its options, as Markdown."""
    import typer.main

    from interop.cli import _app as cli

    group: Any = typer.main.get_command(cli.app)
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
    return "" if option.default in (None, "") or callable(option.default) else f"`{option.default}`"


def _help(option: Any) -> str:
    return (option.help or "").replace("|", "\\|")
