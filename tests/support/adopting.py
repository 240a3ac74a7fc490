"""Links over somebody else's Vulkan: run in fresh processes by the contract tests."""

from __future__ import annotations

import contextlib
import ctypes
import threading
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from engine import Engine
from interop_vulkan import adopt
from interop_vulkan._driver import address

import interop
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop_vulkan.producer import VulkanProducer

    from interop import Link

WORDS = 4096
TWICE = """
KERNEL void twice(GLOBAL_MEM unsigned int *words)
{
    words[GLOBAL_ID(0)] *= 2u;
}
"""


def adopted(engine: Engine, **changes: Any) -> VulkanProducer:
    """Adopt a program's device as its author would."""
    said: dict[str, Any] = {
        "instance": engine.instance,
        "physical_device": engine.physical,
        "device": engine.device,
        "queue": engine.queue,
        "queue_family": engine.family,
        "api_version": (1, 2),
        "extensions": engine.extensions,
        "features": ["timelineSemaphore"],
    }
    return adopt(**{**said, **changes})


def frames(link: Link, count: int) -> int:
    """Send words to the consumer and back; return how many frames came out wrong."""
    words = link.buffer(WORDS, "uint32")
    result = link.producer.create_buffer(words.nbytes, host_visible=True)
    wrong = 0
    with contextlib.closing(link.consumer.compile(TWICE)) as module:
        twice = module.kernel("twice")
        for frame in range(count):
            with link.producer_turn(words) as commands:
                commands.fill(words, frame)
            with link.consumer_turn(words) as view:
                twice(view, global_size=WORDS)
            with link.producer_turn(words) as commands:
                commands.copy(words, result)
            link.synchronize()
            wrong += bool((np.frombuffer(result.host_view(), np.uint32) != 2 * frame).any())
    result.close()
    return wrong


FORMS: dict[str, Callable[[Any], object]] = {
    "objects": lambda handle: handle,
    "integers": address,
    "ctypes": lambda handle: ctypes.c_void_p(address(handle)),
}


def many(consumer: str, form: str, count: int = 30) -> dict[str, Any]:
    """Frames over an adopted device; then the program goes on, and ends, as if nothing had been."""
    given = FORMS[form]
    with Engine() as warm, adopted(warm) as producer, interop.connect(producer, consumer) as link:
        frames(link, 1)
    del link, producer, warm
    before = leaks.snapshot()
    with Engine() as engine:
        said = {
            "instance": given(engine.instance),
            "physical_device": given(engine.physical),
            "device": given(engine.device),
            "queue": None if form == "integers" else given(engine.queue),
            "extensions": None if form == "ctypes" else engine.extensions,
        }
        with adopted(engine, **said) as producer:
            with interop.connect(producer, consumer, path="zero-copy") as link:
                wrong = frames(link, count)
                found = {"explanation": link.explain(), "wrong": wrong}
            with interop.connect(producer, consumer, path="staged") as link:
                found["wrong staged"] = frames(link, 3)
        buffer, _, _ = engine.buffer(64)
        engine.fill(buffer, 7)
    del link, producer, engine, said
    return {**found, "left": leaks.leaked_since(before)}


def without_extensions() -> dict[str, Any]:
    """A device that was made without any: memory is staged, or the missing extension is named."""
    with Engine(extensions=()) as engine, adopted(engine) as producer:
        with interop.connect(producer, "hip") as link:
            found: dict[str, Any] = {"path": link.path.value, "wrong": frames(link, 3)}
            found["explanation"] = link.explain()
        try:
            interop.connect(producer, "hip", path="zero-copy")
        except interop.NoCommonHandleType as error:
            found["error"] = str(error)
    return found


class CountingLock:
    """A lock that counts how often it was taken, and how often while it was taken already."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.taken = 0

    def acquire(self, *, timeout: float) -> bool:
        if not self._lock.acquire(timeout=timeout):
            return False
        self.taken += 1
        return True

    def release(self) -> None:
        self._lock.release()


def beside_other_threads(consumer: str, count: int = 100) -> dict[str, Any]:
    """The program submits from a thread of its own all the while; both take the same lock."""
    lock = CountingLock()
    stopping = threading.Event()
    submitted = 0

    def work(engine: Engine, buffer: Any) -> None:
        nonlocal submitted
        while not stopping.is_set() and submitted < 2000:
            assert lock.acquire(timeout=10)
            engine.fill(buffer, submitted)
            lock.release()
            submitted += 1

    with Engine() as engine:
        buffer, _, _ = engine.buffer(64, export=False)
        worker = threading.Thread(target=work, args=(engine, buffer))
        worker.start()
        try:
            with adopted(engine, lock=lock) as producer, interop.connect(producer, consumer) as link:
                wrong = frames(link, count)
        finally:
            stopping.set()
            worker.join(30)
    return {"wrong": wrong, "submitted": submitted, "taken": lock.taken}


def dropped() -> dict[str, Any]:
    """A producer that nobody closes is reported; what it made goes, the device stays."""
    import gc

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with Engine() as engine:
            producer = adopted(engine)
            producer.prepare().submit()
            del producer
            gc.collect()
            buffer, _, _ = engine.buffer(64)
            engine.fill(buffer, 7)
    return {"warnings": [str(each.message) for each in caught]}


SHAPES: dict[str, dict[str, Any]] = {
    "whole": {},
    "dedicated": {"dedicated": True},
    "behind other memory": {"at": 8192},
    "range of a buffer": {"offset": 4096},
    "range behind other memory": {"at": 8192, "offset": 4096},
    "by handle": {"by_handle": True, "at": 8192},
}
SIZE = 4 * WORDS


def own_memory(consumer: str, shape: str, path: str = "zero-copy") -> dict[str, Any]:
    """The program's memory, filled by its own submissions, doubled by the consumer, and read back."""
    made = dict(SHAPES[shape])
    offset = made.pop("offset", 0)
    by_handle = made.pop("by_handle", False)
    whole = offset + SIZE + (4096 if offset else 0)
    wrong: list[int] = []
    with Engine() as engine:
        buffer, memory, allocation_size = engine.buffer(whole, **made)
        said = {"allocation_size": allocation_size, "memory_offset": engine.at}
        with adopted(engine) as producer, interop.connect(producer, consumer, path=path) as link:
            everything = producer.adopt_buffer(buffer, memory, size=whole, **said)
            given: Any = memory
            if by_handle:
                given, _ = everything.export_memory()
            dedicated = made.get("dedicated", False)
            part = producer.adopt_buffer(buffer, given, size=SIZE, offset=offset, dedicated=dedicated, **said)
            if by_handle:
                given.close()
            result = producer.create_buffer(whole, host_visible=True)
            words = link.adopt(part, WORDS, "uint32")
            with contextlib.closing(link.consumer.compile(TWICE)) as module:
                twice = module.kernel("twice")
                for frame in range(1, 30):
                    with link.queue_turn(words) as commands:
                        engine.fill(buffer, frame)
                        if frame % 2:
                            commands.fill(words, 3 * frame)
                    with link.consumer_turn(words) as view:
                        twice(view, global_size=WORDS)
                    with link.queue_turn(words) as commands:
                        commands.copy(everything, result)
                    link.synchronize()
                    expected = np.full(whole // 4, frame, np.uint32)
                    expected[offset // 4 :][:WORDS] = 2 * frame * (3 if frame % 2 else 1)
                    if (np.frombuffer(result.host_view(), np.uint32) != expected).any():
                        wrong.append(frame)
            words.close()
            for closing in (part, everything, result):
                closing.close()
        engine.fill(buffer, 1)
    return {"wrong": wrong, "explanation": link.explain()}
