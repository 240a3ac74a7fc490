"""The thread type of relays, by which a checked link tells their observations from the program's."""

from __future__ import annotations

import threading


class RelayThread(threading.Thread):
    """A thread that waits for one side and releases or signals the other in its place."""
