"""Errors about the process at the other end of a session. They keep text and attributes through ``pickle``.

::

    InteropError
    └── PeerError                the other process refused, or this process refuses it
        ├── PeerLost             the other process ended or closed its session
        └── ProtocolError        the other process sent a message that is not accepted
"""

from __future__ import annotations

from interop.protocols import InteropError


class PeerError(InteropError):
    """The process at the other end of a socket refused, or this process does not share with it."""


class PeerLost(PeerError):
    """The other process ended or closed its session. Close this session, then call ``accept`` or ``join`` again.

    Args:
        pid: The other process.
        what: What it did, for the message.
        orderly: Whether the other process closed its session, rather than ending without it.
    """

    def __init__(self, pid: int, what: str, *, orderly: bool = False) -> None:
        self.pid = pid
        self.orderly = orderly
        super().__init__(f"process {pid} {what}; close this session and open a new one")


class ProtocolError(PeerError):
    """The other process sent a message that is malformed, out of order, or carries the wrong handles.

    Every descriptor that came with the message has been closed.

    Args:
        reason: What was expected and what was found.
        pid: The process that sent the message; 0 if it is not known.
    """

    def __init__(self, reason: str, pid: int = 0) -> None:
        self.reason = reason
        self.pid = pid
        sender = f"process {pid} sent" if pid else "a peer sent"
        super().__init__(f"{sender} a message that is not accepted: {reason}")
