"""Tensors of shared memory: right to the bit, and alive for as long as anybody holds one.

    python tests/device/tensors.py --consumer cuda --library torch

First frames: Vulkan writes random bits, a tensor of the same memory is multiplied and added to in place, and
Vulkan copies the result to host memory, where it must be what NumPy makes of the same bits. Then, for each of
the 120 orders in which tensor, view, link, consumer and producer can go, and for both ways of going (closed,
and merely dropped, with a garbage collection after each): what the tensor holds must stay right for as long
as it is there, and at the end no descriptor, thread, capsule or device memory may be left.

Runs with NumPy over the consumer of that name on a machine without a GPU. Prints one JSON object; exits with 1
when anything was wrong.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import itertools
import json
import os
import sys
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
from device_memory import GRANULE, DeviceMemory

import interop
from interop import registry
from interop.protocols import ClosedError
from interop.testing import leaks
from interop.testing._pair import Pair
from interop.toolkit import dlpack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from numpy.typing import NDArray

    from interop.links import Buffer, Link

    Join = Callable[..., Link]

NAMES = ("tensor", "view", "link", "consumer", "producer")
WAYS = ("closed", "dropped")
HOST = (dlpack.DeviceType.CPU, 0)
FACTOR, TERM = 1.5, 0.25  # two operations, each rounded once: the same bits on every IEEE 754 device


class NumPy:
    """The library that is always here."""

    def take(self, view: Any) -> Any:
        """Make a tensor of a view, without a copy."""
        return np.from_dlpack(view)

    def step(self, tensor: Any) -> None:
        """Change what the tensor holds, in place."""
        tensor *= np.float32(FACTOR)
        tensor += np.float32(TERM)

    def bits(self, tensor: Any) -> bytes:
        """Return what the tensor holds."""
        return bytes(tensor.tobytes())

    def finish(self) -> None:
        """Wait until the library has done its work, and give back what it keeps for later."""


class Torch(NumPy):
    """PyTorch, on the device that the memory is on."""

    def __init__(self) -> None:
        import torch  # pyright: ignore[reportMissingImports]

        self.torch = torch

    def take(self, view: Any) -> Any:
        """Make a tensor; PyTorch names its stream, which the memory's own then precedes."""
        return self.torch.from_dlpack(view)

    def step(self, tensor: Any) -> None:
        """Enqueue two kernels on PyTorch's stream."""
        tensor.mul_(FACTOR).add_(TERM)

    def bits(self, tensor: Any) -> bytes:
        """Copy to the host."""
        return bytes(tensor.cpu().numpy().tobytes())

    def finish(self) -> None:
        """Wait for the device, and empty the caching allocator."""
        if self.torch.cuda.is_initialized():
            self.torch.cuda.synchronize()
            self.torch.cuda.empty_cache()


class Raw(NumPy):
    """A library in C, as far as lifetimes go: it takes capsules of every device, and only reads."""

    def take(self, view: Any) -> Any:
        """Take a capsule, having asked for the view's own device."""
        import taker  # of tests/support

        return taker.Taken(view.__dlpack__(dl_device=view.__dlpack_device__()))

    def step(self, tensor: Any) -> None:
        """Leave it as it is."""

    def bits(self, tensor: Any) -> bytes:
        """Read through the pointer or handle that came with the tensor."""
        return bytes(tensor.read())


LIBRARIES = {"numpy": NumPy, "torch": Torch, "raw": Raw}


class Scene:
    """One of each thing, joined, and random bits from Vulkan in the memory that they share."""

    def __init__(self, pair: Pair, join: Join, library: NumPy, count: int, seed: int) -> None:
        self.library = library
        self.expected = random(count, seed)
        producer = pair.producers.open_producer(pair.producer)
        consumer = pair.consumers.open_consumer(pair.consumer)
        link = join(producer, consumer)
        buffer = link.buffer(count, "float32")
        upload(link, buffer, self.expected)
        with link.consumer_turn(buffer) as view:
            self.held: dict[str, Any] = {
                "tensor": take(library, link, view),
                "view": view,
                "link": link,
                "consumer": consumer,
                "producer": producer,
            }
        link.synchronize()

    def give_up(self, name: str, way: str) -> None:
        """Let one of them go. A link that outlived what it joins says so, after it has released the rest."""
        going = self.held.pop(name)
        if way == "closed" and name != "tensor":
            late = name == "link" and not {"consumer", "producer"} <= self.held.keys()
            with contextlib.suppress(ClosedError) if late else contextlib.nullcontext():
                going.close()
        del going
        gc.collect()

    def right(self) -> bool:
        """Change and read the tensor, if it is there."""
        tensor = self.held.get("tensor")
        if tensor is None:
            return True
        self.library.step(tensor)
        if not isinstance(self.library, Raw):
            step(self.expected)
        return self.library.bits(tensor) == self.expected.tobytes()


@functools.cache
def numbers(count: int) -> NDArray[np.float32]:
    """Return numbers of both signs and many magnitudes."""
    return np.random.default_rng(count).standard_normal(count, np.float32)


def random(count: int, seed: int) -> NDArray[np.float32]:
    """Return such numbers, others for every small seed."""
    return numbers(count) * np.float32(1 + seed)


def step(values: NDArray[np.float32]) -> None:
    """Do on the host what a library does with its tensor."""
    NumPy().step(values)


def upload(link: Link, buffer: Buffer, values: NDArray[np.float32]) -> None:
    """Have Vulkan write the values, and wait for it."""
    source = link.producer.create_buffer(values.nbytes, host_visible=True)
    with source.host_view() as host:
        host[: values.nbytes] = values.tobytes()
    with link.producer_turn(buffer) as commands:
        commands.copy(source, buffer)
    link.synchronize()
    source.close()


def take(library: NumPy, link: Link, view: Any) -> Any:
    """Make a tensor of the view. The host must wait for the turn; a device's stream does by itself."""
    if tuple(view.__dlpack_device__()) == HOST:
        link.consumer.stream.synchronize(link.timeout)
    return library.take(view)


def frames(join: Join, consumer: str, library: NumPy, count: int, number: int) -> Iterable[str]:
    """Name the frames of which Vulkan got other bits back than NumPy computes."""
    with join("vulkan", consumer) as link:
        buffer = link.buffer(count, "float32")
        result = link.producer.create_buffer(buffer.nbytes, host_visible=True)
        for frame in range(number):
            values = random(count, frame)
            upload(link, buffer, values)
            with link.consumer_turn(buffer) as view:
                library.step(take(library, link, view))
                library.finish()
            with link.producer_turn(buffer) as commands:
                commands.copy(buffer, result)
            link.synchronize()
            step(values)
            with result.host_view() as host:
                if bytes(host[: values.nbytes]) != values.tobytes():
                    yield f"frame {frame}: Vulkan got other bits back than NumPy computes"
        result.close()


def one(
    pair: Pair, join: Join, library: NumPy, count: int, order: Sequence[str], way: str, seed: int = 0
) -> Iterable[str]:
    """Go through one order, and name what was wrong with the tensor."""
    scene = Scene(pair, join, library, count, seed)
    if not scene.right():
        yield "the tensor does not hold what Vulkan wrote"
    for name in order:
        scene.give_up(name, way)
        if not scene.right():
            yield f"the tensor changed when the {name} went"


def main() -> int:
    """Run frames and orders; count what is held before and after."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="numpy")
    parser.add_argument("--library", default="numpy", choices=sorted(LIBRARIES))
    parser.add_argument("--frames", type=int, default=100)
    parser.add_argument("--every", type=int, default=1, help="go through every n-th order only")
    parser.add_argument("--mib", type=float, help="size of the memory; by default 16, and 1/4 without a GPU")
    parser.add_argument("--sync", default="auto", help="strategy, as for connect")
    parser.add_argument("--vouch", action="store_true", help="take the first devices of both sides as one")
    parser.add_argument("--reset", action="store_true", help="end the CUDA context before exit")
    options = parser.parse_args()
    library = LIBRARIES[options.library]()
    first = 0 if options.vouch else None
    pair = Pair.find(
        registry.default(), "vulkan", options.consumer, producer_choice=first, consumer_choice=first
    )
    join: Join = functools.partial(interop.connect, path="zero-copy", sync=options.sync)
    if options.vouch:
        join = functools.partial(join, producer_device=pair.producer.name, consumer_device=pair.consumer.name)
    memory = DeviceMemory.find(pair.producer.identity.uuid)
    mib = options.mib or (16 if memory is not None else 0.25)
    count = int(mib * 2**20) // 4
    wrong: list[str] = []
    if options.library != "raw":
        wrong += frames(join, options.consumer, library, count, options.frames)
    warnings.simplefilter("ignore", ResourceWarning)  # of what is dropped without being closed
    for way in WAYS:  # drivers start threads and keep memory on first use
        wrong += one(pair, join, library, count, NAMES, way)
    library.finish()
    gc.freeze()  # the modules of a big library would take most of the time of each collection
    before, used = leaks.snapshot(), memory.used() if memory is not None else 0
    capsules = dlpack.live_tensors()
    orders = list(itertools.permutations(NAMES))[:: options.every]
    for seed, (way, order) in enumerate(itertools.product(WAYS, orders)):
        found = [*one(pair, join, library, count, order, way, seed)]
        if left := leaks.leaked_since(before):
            found += [f"left behind: {name}" for name in left]
            before = leaks.snapshot()
        wrong += [f"{way}, {', '.join(order)}: {what}" for what in found]
    if (held := dlpack.live_tensors() - capsules) != 0:
        wrong.append(f"{held} capsules are still held")
    library.finish()
    growth = memory.used() - used if memory is not None else None
    limit = max(
        4 * GRANULE, 4 * count // 2
    )  # less than one buffer that stayed, more than the driver's granules
    if growth is not None and growth > limit:
        wrong.append(f"device memory grew by {growth} bytes, more than {limit}")
    figures = {
        "consumer": options.consumer,
        "library": options.library,
        "device": pair.consumer.name,
        "frames": options.frames if options.library != "raw" else 0,
        "orders": len(orders) * len(WAYS),
        "device_growth_bytes": growth,
        "wrong": wrong,
    }
    print(json.dumps(figures, indent=2), flush=True)
    if memory is not None:
        if options.reset:
            memory.reset()
            os._exit(1 if wrong else 0)  # what libraries do at exit would now fail
        memory.close()
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
