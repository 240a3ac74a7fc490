"""Options of the command line: names and files, checked before anything is opened; and the file of ``--json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

from interop import registry
from interop.protocols import Role

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    _Type = click.ParamType[Any]
else:
    _Type = click.ParamType  # a type argument needs click 8.3 at run time

_FIRST = ("opencl", "hip")
"""Consumers that reports show first, so that they stand side by side."""


def every_consumer() -> list[str]:
    """Return every registered consumer, those of :data:`_FIRST` first. Loads no backend."""
    names = registry.backends(Role.CONSUMER)
    return [name for name in _FIRST if name in names] + sorted(set(names) - set(_FIRST))


class Name(_Type):
    """One name out of choices that are looked up when the option is read."""

    name = "name"

    def __init__(self, what: str, choices: Callable[[], Sequence[str]]) -> None:
        self._what = what
        self._choices = choices

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the name, or fail with the choices."""
        choices = self._choices()
        if value not in choices:
            self.fail(f"no {self._what} {value!r}; choose from {', '.join(choices)}", param, ctx)
        return value

    def shell_complete(
        self,
        ctx: click.Context,  # noqa: ARG002 - click's signature
        param: click.Parameter,  # noqa: ARG002 - as above
        incomplete: str,
    ) -> list[CompletionItem]:
        """Return the choices that begin as typed."""
        done, comma, begun = incomplete.rpartition(",")
        return [CompletionItem(f"{done}{comma}{name}") for name in self._choices() if name.startswith(begun)]


class Names(Name):
    """Names separated by commas; each must be one of the choices."""

    name = "names"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """Return the names as a list."""
        parts = [part.strip() for part in str(value).split(",") if part.strip()]
        if not parts:
            choices = ", ".join(self._choices())
            self.fail(f"expected names separated by commas; choose from {choices}", param, ctx)
        return [Name.convert(self, part, param, ctx) for part in parts]


class OutputFile(_Type):
    """A file to write, or ``-`` for standard output. Its folder must exist and be writable."""

    name = "file"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Path:
        """Return the path. Fails before any work where the file cannot be written."""
        path = Path(str(value))
        if str(path) == "-":
            return path
        if path.is_dir():
            self.fail(f"{path} is a folder; give a file", param, ctx)
        if not path.parent.is_dir():
            self.fail(f"the folder {path.parent} does not exist", param, ctx)
        try:
            existed = path.exists()
            with path.open("a", encoding="utf-8"):
                pass
            if not existed:
                path.unlink()
        except OSError as error:
            self.fail(f"{path} cannot be written: {error.strerror}", param, ctx)
        return path


def write_json(path: Path, content: Any) -> None:
    """Write a document as UTF-8 JSON; the path ``-`` is standard output."""
    text = json.dumps(content, indent=2) + "\n"
    if str(path) == "-":
        sys.stdout.write(text)
    else:
        path.write_text(text, encoding="utf-8")


CONSUMERS = Names("consumer", every_consumer)
PRODUCER = Name("producer", lambda: sorted(registry.backends(Role.PRODUCER)))
