"""Errors about the other process.

::

    InteropError
    └── PeerError                the process at the other end refused or cannot be dealt with
        ├── PeerLost             it ended or closed its end: says which process
        └── ProtocolError        it sent what nobody may send; nothing of it was taken in
"""

from __future__ import annotations

from interop.protocols import InteropError


class PeerError(InteropError):
    """The process at the other end of a socket refused, or is not one to share with; the message says why."""


class PeerLost(PeerError):
    """The other process ended or closed its end; the session is over and a new one can be opened.

    ``pid`` names it. ``orderly`` tells a peer that said goodbye from one that just went.
    """

    def __init__(self, pid: int, what: str, *, orderly: bool = False) -> None:
        self.pid = pid
        self.orderly = orderly
        super().__init__(f"process {pid} {what}; close this session and open a new one")


class ProtocolError(PeerError):
    """The other process sent a message that is malformed, out of order, or carries the wrong handles.

    ``pid`` names it where it is known. Whatever came with the message was closed.
    """

    def __init__(self, reason: str, pid: int = 0) -> None:
        self.reason = reason
        self.pid = pid
        sender = f"process {pid} sent" if pid else "a peer sent"
        super().__init__(f"{sender} a message that is not accepted: {reason}")
