"""The strategies that order two streams of two APIs. A link loads the strategies that its plan names."""

from __future__ import annotations

from interop.links.sync.binary import BinaryPair
from interop.links.sync.choose import (
    open_batch_directions,
    open_directions,
    sync_file_to_consumer,
    sync_file_to_producer,
)
from interop.links.sync.directions import ToConsumer, ToProducer
from interop.links.sync.prepared import stream_call
from interop.links.sync.relay import RelayThread

__all__ = [
    "BinaryPair",
    "RelayThread",
    "ToConsumer",
    "ToProducer",
    "open_batch_directions",
    "open_directions",
    "stream_call",
    "sync_file_to_consumer",
    "sync_file_to_producer",
]
