"""The smallest steps of a frame, timed by pytest-benchmark. Not part of the test suite.

    pytest -q -p no:cacheprovider --benchmark-only -o addopts= -o testpaths= benchmarks/test_micro.py

For HIP or CUDA set ``INTEROP_BENCH_CONSUMER``. Work in flight is waited for between rounds, outside the clock.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import interop
from interop.cli.bench._ring import INCREMENT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from interop.links import Link

CONSUMER = os.environ.get("INTEROP_BENCH_CONSUMER", "opencl")
WORDS = 1024
ROUNDS = 1000


@pytest.fixture(scope="module")
def link() -> Iterator[Link]:
    """Join Vulkan and the consumer by the best means that they have."""
    with interop.connect(consumer=CONSUMER) as made:
        yield made


@pytest.fixture
def timed(link: Link, benchmark: Any) -> Callable[[Callable[[], object]], object]:
    """Time one call a round, both devices idle at its start."""

    def run(step: Callable[[], object]) -> object:
        return benchmark.pedantic(step, setup=link.synchronize, rounds=ROUNDS, warmup_rounds=20)

    return run


def test_consumer_turn(link: Link, benchmark: Any) -> None:
    """Enter and leave a consumer turn after a producer's: the wait."""
    buffer = link.buffer(WORDS, "uint32")
    theirs, ours = link.producer_turn(buffer), link.consumer_turn(buffer)

    def before() -> None:
        with theirs:
            pass
        link.synchronize()

    def step() -> None:
        with ours:
            pass

    benchmark.pedantic(step, setup=before, rounds=ROUNDS, warmup_rounds=20)


def test_producer_turn(link: Link, benchmark: Any) -> None:
    """Enter and leave a producer turn after a consumer's: the signal and the submission."""
    buffer = link.buffer(WORDS, "uint32")
    theirs, ours = link.consumer_turn(buffer), link.producer_turn(buffer)

    def before() -> None:
        with theirs:
            pass
        link.synchronize()

    def step() -> None:
        with ours:
            pass

    step()
    benchmark.pedantic(step, setup=before, rounds=ROUNDS, warmup_rounds=20)


def test_turn_that_changes_no_owner(link: Link, timed: Callable[[Callable[[], object]], object]) -> None:
    """Enter and leave a consumer turn again: nothing is handed over."""
    buffer = link.buffer(WORDS, "uint32")
    turn = link.consumer_turn(buffer)

    def step() -> None:
        with turn:
            pass

    timed(step)


def test_import(link: Link, benchmark: Any) -> None:
    """Export, import and map 64 KiB, and give all of it back."""
    buffer = link.producer.create_buffer(1 << 16, export=link.plan.handle_type)

    def step() -> None:
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = link.consumer.import_memory(handle, descriptor)
        memory.map_buffer().close()
        memory.close()

    benchmark.pedantic(step, rounds=ROUNDS, warmup_rounds=20)
    buffer.close()


@pytest.mark.parametrize("prepared", [False, True])
def test_launch(link: Link, timed: Callable[[Callable[[], object]], object], *, prepared: bool) -> None:
    """Launch a kernel again with the same arguments, as a call or prepared."""
    buffer = link.buffer(WORDS, "uint32")
    kernel = link.consumer.compile(INCREMENT).kernel("increment")
    with link.producer_turn(buffer) as commands:
        commands.fill(buffer, 0)
    with link.consumer_turn(buffer) as view:
        count = np.uint32(WORDS)
        launch = kernel.prepare(view, count, global_size=WORDS)
        timed(launch if prepared else lambda: kernel(view, count, global_size=WORDS))
