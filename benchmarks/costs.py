"""Programs whose cost in Python is counted, for ``against.py``: they run on this tree and on older ones.

    python benchmarks/costs.py PROGRAM CONSUMER

Prints the counts as JSON. The module loads little, so that a first frame has its own imports still before it.
"""

from __future__ import annotations

import gc
import sys
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from instructions import counted, instructions

if TYPE_CHECKING:
    from collections.abc import Callable

PAIRS, FRAMES, BYTES, WARM_UP = 64, 64, 65536, 8
MODULES = "modules of a first frame"
SOURCE = """
KERNEL void bump(GLOBAL_MEM unsigned int *words, unsigned int count)
{
    unsigned int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1;
}
"""


def first_frame(consumer: str) -> dict[str, float]:
    """Count from the import of the package to the end of the first pair of turns."""

    def start() -> Any:
        import interop

        link = interop.connect("vulkan", consumer)
        buffer = link.buffer(16, "uint32")
        with link.producer_turn(buffer) as commands:
            commands.fill(buffer, 7)
        with link.consumer_turn(buffer):
            return link

    before = set(sys.modules)
    link, count, _ = counted(start)
    found: dict[str, float] = {"first frame": count, MODULES: len(set(sys.modules) - before)}
    link.close()
    return found


def every_frame(consumer: str) -> dict[str, float]:
    """Count a pair of turns, recorded frames, and an import of memory, each after a warm-up."""
    import numpy as np

    import interop

    found: dict[str, float] = {}
    with interop.connect("vulkan", consumer) as link:
        buffer = link.buffer(64, "uint32")
        consumer_turn, producer_turn = link.consumer_turn(buffer), link.producer_turn(buffer)

        def pairs() -> None:
            for _ in range(PAIRS):
                with consumer_turn:
                    pass
                with producer_turn:
                    pass

        found["pair of turns"] = _steady(pairs, link.synchronize) / PAIRS
        kernel = link.consumer.compile(SOURCE).kernel("bump")
        for batch in (1, 2):
            recorded = link.ring(64, "uint32", slots=8 * batch, batch=batch).record(
                produce=lambda commands, slot: commands.fill(slot, 1),
                consume=lambda slot: kernel.prepare(slot.view, np.uint32(64), global_size=64),
            )
            run = partial(recorded.run, FRAMES)
            found[f"{FRAMES} frames in batches of {batch}"] = _steady(run, link.synchronize)
        found |= _import(link)
    return found


def _steady(work: Callable[[], object], settle: Callable[[], object]) -> float:
    counts: list[int] = []
    for _ in range(WARM_UP + 4):
        counts.append(instructions(work))
        settle()
    # Every second round of a ring looks at the producer's progress, and a busy machine adds waits: the least two.
    return min(map(sum, pairwise(counts[WARM_UP:]))) / 2


def _import(link: Any) -> dict[str, float]:
    buffer = link.producer.create_buffer(BYTES, export=link.plan.handle_type)

    def take() -> tuple[Any, Any]:
        handle, descriptor = buffer.export_memory()
        with handle:
            memory = link.consumer.import_memory(handle, descriptor)
        return memory, memory.map_buffer()

    def drop(memory: Any, view: Any) -> None:
        view.close()
        memory.close()

    for _ in range(WARM_UP):
        drop(*take())
    gc.disable()  # a collection would count
    taken, mapped, _ = counted(take)
    dropped = instructions(lambda: drop(*taken))
    gc.enable()
    buffer.close()
    return {"export, import and map": mapped, "export, import, map and drop": mapped + dropped}


PROGRAMS = {"every": every_frame, "first": first_frame}


def main() -> None:
    """Run the program that the command line names."""
    program, consumer = sys.argv[1:]
    found = PROGRAMS[program](consumer)
    import json

    sys.stdout.write(json.dumps(found))


if __name__ == "__main__":
    main()
