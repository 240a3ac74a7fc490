"""Finding one group's entry points without reading those of every installed distribution.

:func:`importlib.metadata.entry_points` parses what each distribution declares, and where hundreds are installed that
takes longer than opening a driver. Here the folders of ``sys.path`` are listed, and only a distribution whose
``entry_points.txt`` has the group's name somewhere in it is handed to :mod:`importlib.metadata`, which parses it.
"""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

_SUFFIXES = (".dist-info", ".egg-info")
_MOST = 1 << 16
"""Bytes that are looked at; a longer file is parsed."""
_SEPARATORS = re.compile(r"[-_.]+")


class _NotPlainError(Exception):
    """Something on the path is no plain folder of distributions."""


def entry_points(group: str) -> Iterable[importlib.metadata.EntryPoint]:
    """Return what ``importlib.metadata.entry_points(group=group)`` does, reading only what may be of the group.

    So the first distribution of a name on ``sys.path`` hides the others of that name. Where anything but folders may
    hold distributions (a zip file, an egg, a finder of ``sys.meta_path`` that knows of more), that function is called.
    A file that cannot be decoded matters only where it names the group.
    """
    try:
        places = list(_naming(group.encode()))
    except _NotPlainError:
        return importlib.metadata.entry_points(group=group)
    found = (importlib.metadata.PathDistribution(Path(place)) for place in places)
    return [entry for each in found for entry in each.entry_points.select(group=group)]


def _naming(group: bytes) -> Iterator[str]:
    """Yield the metadata folders of distributions whose entry points have these bytes in them."""
    finders = [each for each in sys.meta_path if getattr(each, "find_distributions", None) is not None]
    if finders != [importlib.machinery.PathFinder]:
        raise _NotPlainError
    seen: set[str] = set()
    for folder in map(str, sys.path):  # programs put paths of other kinds there too
        for child in _children(folder):
            if not child.lower().endswith(_SUFFIXES):
                continue
            name = _name(child)
            if name in seen:
                continue
            seen.add(name)
            place = os.path.join(folder, child)  # noqa: PTH118 - a Path for each would take longer than its file
            if _names(f"{place}{os.sep}entry_points.txt", group):
                yield place


def _names(path: str, group: bytes) -> bool:
    """Whether a file has these bytes in it, or is too long to tell. Asks the system for no more than that."""
    try:
        file = os.open(path, os.O_RDONLY)
    except OSError:  # most have none; what cannot be read, importlib.metadata does not read either
        return False
    try:
        text = os.read(file, _MOST)
    except OSError:  # a folder
        return False
    finally:
        os.close(file)
    return group in text or len(text) == _MOST


def _children(folder: str) -> list[str]:
    if folder.lower().endswith(".egg"):
        raise _NotPlainError
    try:
        return os.listdir(folder or ".")  # noqa: PTH208 - as above
    except NotADirectoryError:
        raise _NotPlainError from None
    except OSError:
        return []


def _name(child: str) -> str:
    """Return the distribution's name as :mod:`importlib.metadata` compares it."""
    stem, suffix = os.path.splitext(child)  # noqa: PTH122 - as above
    if suffix not in _SUFFIXES:  # in capitals, or there is no more: the name is in the metadata
        raise _NotPlainError
    return _SEPARATORS.sub("-", stem.partition("-")[0]).lower()
