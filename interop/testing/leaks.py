"""Counting what a test must give back: open descriptors and threads, the drivers' own included."""

from __future__ import annotations

import gc
import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path

_FDS = Path("/proc/self/fd")
_TASKS = Path("/proc/self/task")
SETTLE_SECONDS = 1.0
"""How long a driver may take to end its threads after a close."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What this process holds at one moment."""

    descriptors: dict[int, str]
    """Number and target of every open descriptor; empty where the system does not tell."""
    threads: dict[int, str]
    """Id and name of every thread, native ones included where the system tells."""

    def beyond(self, before: Resources) -> list[str]:
        """Name what is held now in excess of ``before``. Less than before is fine."""
        return [
            *_excess("descriptor", before.descriptors, self.descriptors),
            *_excess("thread", before.threads, self.threads),
        ]


def _excess(what: str, before: dict[int, str], now: dict[int, str]) -> list[str]:
    if len(now) <= len(before):
        return []
    # A number may be in use again for something else; what it refers to tells the two apart.
    return [f"{what} {number} ({name})" for number, name in now.items() if before.get(number) != name]


def _names(folder: Path, *, link: bool) -> dict[int, str]:
    found: dict[int, str] = {}
    for entry in os.listdir(folder):  # noqa: PTH208 - iterdir keeps no descriptor of its own open either, but is slower
        path = folder / entry
        try:
            found[int(entry)] = str(path.readlink()) if link else (path / "comm").read_text().strip()
        except OSError:  # the descriptor of the listing itself, or a thread that has just ended
            continue
    return found


def snapshot() -> Resources:
    """Return what the process holds now, after collecting garbage."""
    gc.collect()
    threads = (
        _names(_TASKS, link=False)
        if _TASKS.exists()
        else {thread.ident or 0: thread.name for thread in threading.enumerate()}
    )
    return Resources(descriptors=_names(_FDS, link=True) if _FDS.exists() else {}, threads=threads)


def leaked_since(before: Resources, *, settle: float = SETTLE_SECONDS) -> list[str]:
    """Name what has been left open since ``before``, giving threads up to ``settle`` seconds to end."""
    deadline = time.monotonic() + settle
    while True:
        found = snapshot().beyond(before)
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.01)
