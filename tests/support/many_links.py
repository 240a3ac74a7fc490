"""Several links at a time: run in fresh processes by the contract tests."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
from adopting import WORDS, adopted, frames
from engine import Engine

import interop
from interop import registry
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from interop import Buffer, Link
    from interop.protocols import Producer, ProducerBuffer

READ = """
KERNEL void affine(GLOBAL_MEM unsigned int *out, GLOBAL_MEM unsigned int *words, unsigned int factor)
{
    unsigned int i = GLOBAL_ID(0);
    out[i] = words[i] * factor + i;
}
"""
BATCH = 8


def own_producer() -> Producer:
    """Open the first Vulkan device."""
    backend = registry.default().load_producer("vulkan")
    return backend.open_producer(backend.devices()[0])


class Reader:
    """A consumer that reads the words of a buffer into one of its own, over a link of its own."""

    def __init__(self, link: Link, words: Buffer, factor: int) -> None:
        self.link, self.words, self.factor = link, words, factor
        self.out = link.buffer(WORDS, "uint32")
        self.module = link.consumer.compile(READ)
        self.kernel = self.module.kernel("affine")
        self.results = [link.producer.create_buffer(4 * WORDS, host_visible=True) for _ in range(BATCH)]

    def enqueue(self, frame: int) -> None:
        """Read the words, and copy what came of them to the host."""
        with self.link.consumer_turn(self.words, self.out) as (words, out):
            self.kernel(out, words, np.uint32(self.factor), global_size=WORDS)
        with self.link.producer_turn(self.out) as commands:
            commands.copy(self.out, self.results[frame % BATCH])

    def wrong(self, frame: int) -> bool:
        expected = np.arange(WORDS, dtype=np.uint32) + np.uint32(frame * self.factor)
        return bool((np.frombuffer(self.results[frame % BATCH].host_view(), np.uint32) != expected).any())

    def close(self) -> None:
        self.module.close()
        for result in self.results:
            result.close()


def _fan_out(consumers: Sequence[str], sync: Any, count: int, path: Any) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        producer = stack.enter_context(contextlib.closing(own_producer()))
        links = [
            stack.enter_context(interop.connect(producer, name, sync=sync, path=path)) for name in consumers
        ]
        words = [links[0].buffer(WORDS, "uint32")]
        words += [link.adopt(words[0].producer_buffer, WORDS, "uint32") for link in links[1:]]
        readers = [
            Reader(link, each, 3 + index) for index, (link, each) in enumerate(zip(links, words, strict=True))
        ]
        wrong: list[str] = []
        for first in range(0, count, BATCH):
            for frame in range(first, first + BATCH):
                with contextlib.ExitStack() as turns:
                    for link, each in zip(links[1:], words[1:], strict=True):
                        turns.enter_context(link.queue_turn(each))
                    turns.enter_context(links[0].producer_turn(words[0])).fill(words[0], frame)
                for reader in readers:
                    reader.enqueue(frame)
            for link in links:
                link.synchronize()
            wrong += [
                f"{frame} by {reader.link.consumer.device.backend}"
                for frame in range(first, first + BATCH)
                for reader in readers
                if reader.wrong(frame)
            ]
        for reader in readers:
            reader.close()
    return {"wrong": wrong}


def fan_out(consumers: list[str], sync: Any, count: int = 96, path: Any = "zero-copy") -> dict[str, Any]:
    """One buffer of one producer, read by several consumers in each frame; nothing waits for the host."""
    _fan_out(consumers, sync, BATCH, path)
    before = leaks.snapshot()
    found = _fan_out(consumers, sync, count, path)
    return {**found, "left": leaks.leaked_since(before)}


def _at_once(works: Sequence[Callable[[], int]]) -> list[str]:
    """Run in threads at the same time; return what was wrong with any."""
    wrong: list[str] = []

    def run(number: int, work: Callable[[], int]) -> None:
        try:
            count = work()
        except Exception as error:  # noqa: BLE001 - whatever it is, the test shall say it
            wrong.append(f"thread {number}: {error!r}")
        else:
            if count:
                wrong.append(f"thread {number}: {count} wrong frames")

    workers = [threading.Thread(target=run, args=each) for each in enumerate(works)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(100)
    return wrong + [f"{worker.name} still runs" for worker in workers if worker.is_alive()]


def _links_of_threads(consumers: Sequence[str], producer: str, sync: Any, count: int) -> list[str]:
    with contextlib.ExitStack() as stack:
        given: Any = None
        if producer == "shared":
            given = stack.enter_context(contextlib.closing(own_producer()))
        elif producer == "adopted":
            given = stack.enter_context(adopted(stack.enter_context(Engine())))

        def work(consumer: str) -> int:
            with interop.connect(given or "vulkan", consumer, sync=sync) as link:
                return frames(link, count)

        return _at_once([lambda name=name: work(name) for name in consumers])  # type: ignore[misc]


def links_of_threads(consumers: list[str], producer: str, sync: Any, count: int = 60) -> dict[str, Any]:
    """A link for each thread, made and closed there: over one producer, an adopted one, or one each."""
    for name in consumers:  # what drivers start once and keep
        _links_of_threads([name], producer, sync, 1)
    before = leaks.snapshot()
    wrong = _links_of_threads(consumers, producer, sync, count)
    return {"wrong": wrong, "left": leaks.leaked_since(before)}


def threads_of_a_link(consumer: str, sync: Any, count: int = 60) -> dict[str, Any]:
    """One link, and threads that take turns with buffers of their own."""
    with interop.connect(consumer=consumer, sync=sync) as link:
        wrong = _at_once([lambda: frames(link, count)] * 4)
    return {"wrong": wrong}


def one_consumer_of_two_producers(consumer: str, count: int = 40) -> dict[str, Any]:
    """Two producers hand over to one opened consumer, in turn, through two links."""
    backend = registry.default().load_consumer(consumer)
    wrong = 0
    with contextlib.ExitStack() as stack:
        opened = stack.enter_context(contextlib.closing(backend.open_consumer(backend.devices()[0])))
        producers = [stack.enter_context(contextlib.closing(own_producer())) for _ in range(2)]
        links = [stack.enter_context(interop.connect(each, opened)) for each in producers]
        readers = [Reader(link, link.buffer(WORDS, "uint32"), 5) for link in links]
        for frame in range(count):
            for reader in readers:
                with reader.link.producer_turn(reader.words) as commands:
                    commands.fill(reader.words, frame)
                reader.enqueue(frame)
            for reader in readers:
                reader.link.synchronize()
                wrong += reader.wrong(frame)
        for reader in readers:
            reader.close()
    return {"wrong": wrong}


def foreign_buffer(consumer: str) -> dict[str, Any]:
    """A link takes no buffer of another producer into a turn, and goes on."""
    with contextlib.ExitStack() as stack:
        one, other = (stack.enter_context(contextlib.closing(own_producer())) for _ in range(2))
        theirs: ProducerBuffer = other.create_buffer(4 * WORDS, export=interop.HandleType.OPAQUE_FD)
        link = stack.enter_context(interop.connect(one, consumer))
        words = link.adopt(theirs, WORDS, "uint32")
        try:
            with link.producer_turn(words):
                pass
        except interop.InvalidArgument as error:
            message = str(error)
        else:
            message = ""
        words.close()
        wrong = frames(link, 3)
        theirs.close()
    return {"message": message, "wrong": wrong}
