"""The strategies that order two streams of two APIs."""

from __future__ import annotations

from interop.links.sync._choose import open_directions, open_to_consumer, open_to_producer
from interop.links.sync._directions import ToConsumer, ToProducer
from interop.links.sync._native import BinaryToConsumer, NativeToProducer, TimelineToConsumer
from interop.links.sync._sync_files import OneShotToConsumer, OneShotToProducer

__all__ = [
    "BinaryToConsumer",
    "NativeToProducer",
    "OneShotToConsumer",
    "OneShotToProducer",
    "TimelineToConsumer",
    "ToConsumer",
    "ToProducer",
    "open_directions",
    "open_to_consumer",
    "open_to_producer",
]
