"""Counting what a test must give back: descriptors, threads, and objects of drivers that tell how many they have."""

from __future__ import annotations

import gc
import os
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

_FDS = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What this process holds at one moment."""

    descriptors: dict[int, str]
    """Number and target of every open descriptor; empty where the system does not tell."""
    threads: dict[int, str]
    """Id and name of every thread, native ones included where the system tells."""
    objects: dict[str, int] = field(default_factory=dict[str, int])
    """How many objects of each kind drivers say are alive; empty where none was asked."""

    def beyond(self, before: Resources) -> list[str]:
        """Name what is held now in excess of ``before``. Less than before is fine."""
        more = Counter(self.objects) - Counter(before.objects)  # a Counter keeps positive differences only
        return [
            *_excess("descriptor", before.descriptors, self.descriptors),
            *_excess("thread", before.threads, self.threads),
            *(f"{number} of the driver's objects of kind {kind}" for kind, number in more.items()),
        ]


def _excess(what: str, before: dict[int, str], now: dict[int, str]) -> list[str]:
    if len(now) <= len(before):
        return []
    # A number may be in use again for something else; what it refers to tells the two apart.
    return [f"{what} {number} ({name})" for number, name in now.items() if before.get(number) != name]


def _names(folder: Path, *, link: bool) -> dict[int, str]:
    """Return the number and the name of every entry; nothing where the system has no such folder."""
    found: dict[int, str] = {}
    if not folder.exists():
        return found
    for entry in os.listdir(folder):  # noqa: PTH208 - iterdir keeps no descriptor of its own open either, but is slower
        path = folder / entry
        try:
            found[int(entry)] = str(path.readlink()) if link else (path / "comm").read_text().strip()
        except OSError:  # the descriptor of the listing itself, or a thread that has just ended
            continue
    return found


def snapshot(counters: Iterable[Callable[[], Mapping[str, int]]] = ()) -> Resources:
    """Return what the process holds now, after collecting garbage.

    ``counters`` tell the objects of drivers, by kind, from the hook ``interop_live_objects``.
    """
    gc.collect()
    threads = _names(_TASKS, link=False) or {each.ident or 0: each.name for each in threading.enumerate()}
    objects: Counter[str] = Counter()
    for counter in counters:
        objects.update(counter())
    return Resources(descriptors=_names(_FDS, link=True), threads=threads, objects=dict(objects))


def leaked_since(
    before: Resources, *, settle: float = 1.0, counters: Iterable[Callable[[], Mapping[str, int]]] = ()
) -> list[str]:
    """Name what has been left open since ``before``, giving drivers up to ``settle`` seconds to let go of it."""
    deadline = time.monotonic() + settle
    while True:
        found = snapshot(counters).beyond(before)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)
