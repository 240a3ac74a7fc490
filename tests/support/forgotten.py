"""Ten thousand times make, turn, close: a function for a fresh process that measures what stays behind."""

from __future__ import annotations

import gc
import itertools
import os
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import interop
from interop.links._turn_cache import MAX_TURNS
from interop.protocols import ImageDescriptor

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop import Buffer, Link

BLOCKS, WARM_UP = 100, 2 * MAX_TURNS  # the caches are full then


def turns(link: Link[Any], *buffers: Buffer) -> None:
    """Hand buffers to the consumer and back."""
    with link.producer_turn(*buffers):
        pass
    with link.consumer_turn(*buffers):
        pass


def buffers(link: Link[Any]) -> Callable[[], None]:
    """Return a cycle of one buffer."""

    def cycle() -> None:
        with link.buffer(64, "uint32") as buffer:
            turns(link, buffer)

    return cycle


def rings(link: Link[Any]) -> Callable[[], None]:
    """Return a cycle of one ring with one batch."""

    def cycle() -> None:
        with link.ring(64, "uint32", slots=2, batch=1) as ring:
            for batch in ring.batches(1):
                with batch.producer():
                    pass
                with batch.consumer():
                    pass

    return cycle


def images(link: Link[Any]) -> Callable[[], None]:
    """Return a cycle of one image that goes with the turns of a buffer."""
    producer, consumer = link.producer, link.consumer
    assert isinstance(consumer, interop.protocols.ImageConsumer)
    wanted = ImageDescriptor((8, 4, 1), "rgba8unorm", tiling="linear")
    ticket, stream = link.buffer(4), consumer.stream

    def cycle() -> None:
        image = producer.create_image(wanted, export=link.plan.handle_type)
        handle, memory = image.export_memory()
        with handle:
            mapped = consumer.import_image(handle, memory, image.descriptor)
        with link.producer_turn(ticket) as commands:
            image.release(commands)
        with link.consumer_turn(ticket):
            mapped.acquire(stream)
            mapped.release(stream)
        with link.producer_turn(ticket) as commands:
            image.acquire(commands)
        link.synchronize()
        mapped.close()
        image.close()

    return cycle


def meshes(link: Link[Any]) -> Callable[[], None]:
    """Return a cycle of one mesh that a turn draws."""
    heights = link.buffer(4, "float32")

    def cycle() -> None:
        mesh = link.producer.create_mesh(2, 2, width=4, height=4)
        with link.producer_turn(heights) as commands:
            commands.draw(mesh, heights)
        link.synchronize()
        mesh.close()

    return cycle


def combinations(link: Link[Any]) -> Callable[[], None]:
    """Return a cycle of turns on three buffers that were never in one turn before."""
    made = [link.buffer(64, "uint32") for _ in range(24)]
    every = itertools.permutations(made, 3)
    return lambda: turns(link, *next(every))


KINDS = {make.__name__: make for make in (buffers, rings, images, meshes, combinations)}


def measured(consumer: str, kind: str, cycles: int) -> dict[str, float]:
    """Return how much grew from the end of the warm-up to the last of some cycles.

    Returns:
        ``tables``: entries of the link's and the engine's tables; ``objects``: of the collector; ``blocks``: of
        Python's allocator; ``resident``: bytes of the process; ``descriptors``; ``step``: time of a cycle in the
        last tenth over the first tenth, the fastest of ten blocks each.
    """
    with interop.connect(consumer=consumer, path="zero-copy") as link:
        cycle = KINDS[kind](link)
        for _ in range(min(WARM_UP, cycles // 10)):
            cycle()
        before, times = state(link), []
        for _ in range(BLOCKS):
            start = time.perf_counter()
            for _ in range(cycles // BLOCKS):
                cycle()
            times.append(time.perf_counter() - start)
        after = state(link)
    return {name: after[name] - before[name] for name in before} | {
        "step": min(times[-10:]) / min(times[:10])
    }


def state(link: Link[Any]) -> dict[str, float]:
    """Return the sizes of everything that could grow."""
    link.synchronize()
    gc.collect()
    tables = [*vars(link).values(), *vars(link._turns).values()]
    return {
        "tables": sum(len(table) for table in tables if hasattr(table, "__len__")),
        "objects": len(gc.get_objects()),
        "blocks": sys.getallocatedblocks(),
        "resident": int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
        * os.sysconf("SC_PAGE_SIZE"),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }
