"""Share memory between a producer and a consumer in two processes, over a Unix socket.

The socket carries the handles of memory and semaphores, and the messages that pass turns. ``import interop`` does
not import this package; import it by name.
"""

from __future__ import annotations

from interop.ipc.channel import Peer
from interop.ipc.consuming import ConsumerSession, RemoteBuffer
from interop.ipc.errors import PeerError, PeerLost, ProtocolError
from interop.ipc.joining import join
from interop.ipc.producing import ProducerSession, SharedBuffer
from interop.ipc.server import Server, serve
from interop.ipc.session import Session, SessionBuffer, SharedTurn

__all__ = ["Peer"]
__all__ += ["ConsumerSession", "RemoteBuffer"]
__all__ += ["PeerError", "PeerLost", "ProtocolError"]
__all__ += ["join"]
__all__ += ["ProducerSession", "SharedBuffer"]
__all__ += ["Server", "serve"]
__all__ += ["Session", "SessionBuffer", "SharedTurn"]
