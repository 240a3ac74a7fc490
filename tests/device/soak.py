"""Many frames through one consumer, every one verified, with what the process holds before and after.

    python tests/device/soak.py --consumer opencl --frames 100000

Each frame the producer fills a buffer with the frame's number, the consumer adds one to every word, and the
producer copies the result to host memory, where it is compared byte for byte. Prints one JSON object; exits
with 1 when a frame was wrong or something was left behind.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np

import interop
from interop.testing import leaks

BATCH = 64  # frames in flight before the host looks at them
WORDS = 16 * 1024  # 64 KiB
ADD = """
KERNEL void add_one(GLOBAL_MEM unsigned int *words, int count)
{
    int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1u;
}
"""


def resident_kib() -> int:
    """Return the resident memory of this process."""
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1])


def run(consumer: str, frames: int, sync: str) -> dict[str, object]:
    """Run the frames on one link and return the figures."""
    with interop.connect("vulkan", consumer, sync=sync) as link:
        buffer = link.buffer(WORDS, "uint32")
        results = [link.producer.create_buffer(buffer.nbytes, host_visible=True) for _ in range(BATCH)]
        seen = [np.frombuffer(result.host_view(), np.uint32, WORDS) for result in results]
        kernel = link.consumer.compile(ADD).kernel("add_one")
        count = np.int32(WORDS)
        wrong = 0
        start = time.monotonic()
        early = late = 0
        for first in range(0, frames, BATCH):
            batch = range(first, min(first + BATCH, frames))
            for frame in batch:
                with link.producer_turn(buffer) as commands:
                    commands.fill(buffer, frame)
                with link.consumer_turn(buffer) as view:
                    kernel(view, count, global_size=WORDS)
                with link.producer_turn(buffer) as commands:
                    commands.copy(buffer, results[frame - first])
            link.synchronize()
            wrong += sum(not bool((seen[frame - first] == frame + 1).all()) for frame in batch)
            late = resident_kib()
            early = early or (late if first >= frames // 10 else 0)
        seconds = time.monotonic() - start
        explanation = link.explain()
        del seen
        for result in results:
            result.close()
    return {
        "consumer": consumer,
        "sync": sync,
        "frames": frames,
        "wrong": wrong,
        "frames_per_second": frames / seconds,
        "resident_growth_kib": late - early,
        "explanation": explanation,
    }


def main() -> int:
    """Warm the drivers up with a short run, then run, and compare what is held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl")
    parser.add_argument("--frames", type=int, default=100_000)
    parser.add_argument("--sync", default="auto")
    options = parser.parse_args()
    for _ in range(2):
        run(options.consumer, 2 * BATCH, options.sync)
    before = leaks.snapshot()
    figures = run(options.consumer, options.frames, options.sync)
    figures["left_behind"] = leaks.leaked_since(before)
    print(json.dumps(figures, indent=2))
    return 1 if figures["wrong"] or figures["left_behind"] else 0


if __name__ == "__main__":
    sys.exit(main())
