"""A producer in one process, a consumer in another, one buffer: run this, it starts the other half by itself.

python examples/two_processes.py --consumer opencl
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

import interop
import interop.ipc

DOUBLE = """
KERNEL void twice(GLOBAL_MEM unsigned int *words)
{
    words[GLOBAL_ID(0)] *= 2u;
}
"""
WORDS = 1024
FRAMES = 100


def consume(path: str, consumer: str) -> None:
    """Be the consumer's process: double every word, turn after turn, until the producer says goodbye."""
    with interop.ipc.join(path, consumer) as remote:
        words = remote.buffer("words")
        twice = remote.consumer.compile(DOUBLE).kernel("twice")
        while True:
            try:
                with remote.consumer_turn(words) as view:
                    twice(view, global_size=WORDS)
            except interop.ipc.PeerLost as lost:
                if lost.orderly:
                    return
                raise


def produce(path: str, consumer: str) -> None:
    """Be the producer's process: fill, hand over, and look at what came back."""
    command = [sys.executable, __file__, "--consumer", consumer, "--join", path]
    with interop.ipc.serve(path) as server, subprocess.Popen(command), server.accept() as shared:  # noqa: S603 - this program itself
        print(shared.explain())
        words = shared.buffer(WORDS, "uint32", name="words")
        result = shared.producer.create_buffer(words.nbytes, host_visible=True)
        for frame in range(FRAMES):
            with shared.producer_turn(words) as commands:
                commands.fill(words, frame)
            with shared.producer_turn(words) as commands:  # begins when the other process has had its turn
                commands.copy(words, result)
            shared.synchronize()
            seen = np.frombuffer(result.host_view(), np.uint32)
            assert (seen == 2 * frame).all(), f"frame {frame}: {seen[:4]}"
            del seen
        result.close()
    print(f"{FRAMES} frames through process {shared.peer.pid}, all right")


def main() -> None:
    """Be one of the two."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl")
    parser.add_argument("--join", help="be the consumer's process of the one that serves at this socket")
    options = parser.parse_args()
    if options.join:
        consume(options.join, options.consumer)
        return
    with tempfile.TemporaryDirectory() as folder:
        produce(str(Path(folder, "socket")), options.consumer)


if __name__ == "__main__":
    main()
