"""What a pair of turns costs the caller, held against the same calls by hand: functions for fresh processes."""

from __future__ import annotations

import ctypes
import importlib
import statistics
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import interop
from interop.cli.bench._measure import Contestant, cpu, race
from interop.cli.bench._programs import beside, load
from interop.protocols import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Callable

    from interop.links import Link

BY_HAND = Path(__file__).parents[2] / "benchmarks" / "by_hand"
_BLOCK, _PAIRS, _WARM_UP = 8, 1600, 64


def cpu_ratios(consumer: str, rounds: int) -> dict[str, list[float]]:
    """Return, for each round and way of calling by hand, our CPU time of a pair over theirs."""
    found: dict[str, list[float]] = {"functions": [], "entry points": []}
    for _ in range(rounds):
        with ExitStack() as stack:
            link = stack.enter_context(interop.connect(consumer=consumer, sync="native"))
            runs = [Contestant(*_pair(link), cpu)]
            runs += [Contestant(*_by_hand(link, stack, pointers=form), cpu) for form in (False, True)]
            race(runs, _PAIRS, length=_BLOCK)
            # Of times on a busy machine the lower ones say most about the code.
            ours, *others = (statistics.quantiles(run.times, n=4)[0] for run in runs)
            for name, other in zip(found, others, strict=True):
                found[name].append(ours / other)
    return found


def python_calls(consumer: str) -> dict[str, float]:
    """Return how many functions Python calls for a pair, by us and by hand; the same on any machine."""
    with ExitStack() as stack:
        link = stack.enter_context(interop.connect(consumer=consumer, sync="native"))
        return {
            "interop": _count(*_pair(link)),
            "functions": _count(*_by_hand(link, stack, pointers=False)),
        }


def crossings() -> dict[str, dict[str, int]]:
    """Return how often 64 pairs call which function of Vulkan's and OpenCL's drivers, by us and by hand."""
    import interop_opencl._context as context
    import interop_opencl._driver as opencl
    from interop_opencl import semaphore
    from interop_vulkan._driver import Functions

    from interop.toolkit import preconverted

    counts: Counter[str] = Counter()

    def counted(name: str, function: Any) -> Any:
        def call(*args: Any) -> Any:
            counts[name] += 1
            return function(*args)

        return call

    look_up = Functions.__getattr__

    def vulkan(self: Functions, name: str) -> Any:
        found = counted(name, look_up(self, name))
        setattr(self, name, found)
        return found

    Functions.__getattr__ = vulkan  # type: ignore[method-assign]
    names: dict[int | None, str] = {}
    extension, core = opencl.Driver.required, opencl.Driver._raw

    def required(self: Any, platform: int, name: str) -> Any:
        found: Any = extension(self, platform, name)
        names[ctypes.cast(found, ctypes.c_void_p).value] = name
        return found

    def raw(self: Any, name: str) -> Any:
        found: Any = core(self, name)
        return counted(name, found) if name == "clFlush" else found

    def converted(function: Any) -> Any:
        return counted(names[ctypes.cast(function, ctypes.c_void_p).value], preconverted(function))

    opencl.Driver.required, opencl.Driver._raw = required, raw  # type: ignore[method-assign]
    for module in (semaphore, context):
        vars(module)["preconverted"] = converted
    found: dict[str, dict[str, int]] = {}
    with ExitStack() as stack:
        link = stack.enter_context(interop.connect(consumer="opencl", sync="native"))
        program = load(BY_HAND, "opencl")
        vulkan_side = importlib.import_module("by_hand.vulkan_side")
        by_hand = vulkan_side.Vulkan.raw
        vulkan_side.Vulkan.raw = lambda self, name: counted(name, by_hand(self, name))
        theirs = program(link.plan.producer.index, link.plan.consumer.index, timeline=False, pointers=True)
        stack.callback(theirs.close)
        look = theirs._extension  # type: ignore[attr-defined]
        theirs._extension = lambda name, *types: counted(name, look(name, *types))  # type: ignore[attr-defined]
        theirs._flush = counted("clFlush", theirs._flush)  # type: ignore[attr-defined]
        pair, finish, close = theirs.turns()
        stack.callback(close)
        for name, step, settle in (("interop", *_pair(link)), ("by hand", pair, finish)):
            for _ in range(_WARM_UP):
                step()
            settle()
            total: Counter[str] = Counter()
            for _ in range(_WARM_UP):
                counts.clear()
                step()
                total += counts
                settle()  # a queue that is behind is asked more often, and needs more command buffers
            found[name] = dict(total)
    return found


def repeated_launches(consumer: str) -> dict[str, Any]:
    """Launch a kernel with the same arguments and with others, and say what came of it."""
    scale = """
    KERNEL void add(GLOBAL_MEM unsigned int *words, unsigned int count, unsigned int what)
    {
        unsigned int i = GLOBAL_ID(0);
        if (i < count) words[i] += what;
    }
    """
    found: dict[str, Any] = {}
    with interop.connect(consumer=consumer) as link:
        first, second = link.buffer(256, "uint32"), link.buffer(256, "uint32")
        kernel = link.consumer.compile(scale).kernel("add")
        count, one, ten = np.uint32(256), np.uint32(1), np.uint32(10)
        with link.producer_turn(first, second) as commands:
            commands.fill(first, 0)
            commands.fill(second, 0)
        with link.consumer_turn(first, second) as (here, there):
            for _ in range(3):
                kernel(here, count, one, global_size=256)
            kernel(here, count, ten, global_size=256)
            grid = [256]
            kernel(there, count, one, global_size=grid, local_size=(64,))
            grid[0] = 128  # the same list, another grid
            kernel(there, count, one, global_size=grid, local_size=(64,))
            kernel(there, count, one, global_size=(64,), local_size=(64,))
            kernel(here, count, one, global_size=256)
            found["calls"] = _calls(lambda: kernel(here, count, one, global_size=256))
            for name, view in (("first", here), ("second", there)):
                words = np.empty(256, np.uint32)
                view.read(words.view(np.uint8))
                found[name] = words[::64].tolist()
            here.close()
            try:
                kernel(here, count, one, global_size=256)
            except interop.ClosedError:
                found["closed"] = "ClosedError"
    return found


def _pair(link: Link) -> tuple[Callable[[], None], Callable[[], object]]:
    buffer = link.buffer(1024, "uint32")
    consumer_turn, producer_turn = link.consumer_turn(buffer), link.producer_turn(buffer)

    def pair() -> None:
        with consumer_turn:
            pass
        with producer_turn:
            pass

    return pair, lambda: link.producer.progress.wait_host(producer_turn.progress, link.timeout)


def _by_hand(
    link: Link, stack: ExitStack, *, pointers: bool
) -> tuple[Callable[[], None], Callable[[], object]]:
    try:
        program = beside(link, BY_HAND, pointers=pointers)
    except InvalidArgument as error:
        raise AssertionError(f"the program by hand must run here: {error}") from error
    stack.callback(program.close)
    pair, finish, close = program.turns()
    stack.callback(close)
    return pair, finish


def _count(pair: Callable[[], None], settle: Callable[[], object]) -> float:
    for _ in range(_WARM_UP):
        pair()
    settle()
    total = 0
    for number in range(_WARM_UP):
        total += _calls(pair)
        if number % _BLOCK == 0:
            settle()
    return total / _WARM_UP


def _calls(step: Callable[[], object]) -> int:
    """Return how many functions of Python and of C one step calls; ctypes and cffi calls are not seen."""
    calls = 0

    def note(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(note)
    try:
        step()
    finally:
        sys.setprofile(None)
    return calls
