"""A producer and a consumer in two processes: handles travel over a Unix socket, turns by message.

Import it by name; ``import interop`` does not.
"""

from __future__ import annotations

from interop.ipc.channel import Peer
from interop.ipc.consuming import Remote, RemoteBuffer
from interop.ipc.errors import PeerError, PeerLost, ProtocolError
from interop.ipc.joining import join
from interop.ipc.producing import Shared, SharedBuffer
from interop.ipc.server import Server, serve

__all__ = ["Peer"]
__all__ += ["Remote", "RemoteBuffer"]
__all__ += ["PeerError", "PeerLost", "ProtocolError"]
__all__ += ["join"]
__all__ += ["Shared", "SharedBuffer"]
__all__ += ["Server", "serve"]
