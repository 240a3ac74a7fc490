"""A producer and a consumer in two processes: every frame verified, and a consumer killed in its turn.

    python tests/device/two_processes.py --consumer opencl --frames 10000

Each frame the producer's process fills a buffer with the frame's number, the consumer's process adds one to every
word, and the producer's next turn copies the result to host memory, where it is compared byte for byte. Then a
consumer is killed in the middle of a frame: the producer must say so within its timeout, and serve another one.
Prints a summary and a JSON object; exits with 1 when anything was not as it must be.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

import interop
import interop.ipc
from interop.testing import leaks

if TYPE_CHECKING:
    from interop.ipc import Server

BATCH = 64  # frames whose results are kept before the host looks at them
WORDS = 16 * 1024  # 64 KiB
TIMEOUT = 15.0
SESSION_FRAMES = 50  # of the session after the kill, and of the one before it
ADD = """
KERNEL void add_one(GLOBAL_MEM unsigned int *words, int count)
{
    int i = GLOBAL_ID(0);
    if (i < count) words[i] += 1u;
}
"""


def consume(path: str, consumer: str, stop_at: int) -> None:
    """Be the consumer's process: add one until the producer ends. At turn ``stop_at`` wait to be killed."""
    with interop.ipc.join(path, consumer, timeout=TIMEOUT) as remote:
        words = remote.buffer("words")
        kernel = remote.consumer.compile(ADD).kernel("add_one")
        count = np.int32(WORDS)
        turn = remote.consumer_turn(words)
        frame = 0
        while True:
            try:
                with turn as view:
                    kernel(view, count, global_size=WORDS)
                    if frame == stop_at:
                        print("in turn", flush=True)
                        time.sleep(600)
            except interop.ipc.PeerLost as lost:
                if not lost.orderly:
                    raise
                return
            frame += 1


class Child:
    """The consumer's process, ended on leaving."""

    def __init__(self, path: str, consumer: str, stop_at: int = -1) -> None:
        command = [sys.executable, __file__, "--be-consumer", path, "--consumer", consumer]
        self.process = subprocess.Popen(
            [*command, "--stop-at", str(stop_at)], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait(TIMEOUT)
        assert self.process.stdout is not None
        self.process.stdout.close()


def frames(server: Server, path: str, consumer: str, count: int) -> dict[str, object]:
    """Run a session to its end, every frame verified."""
    with Child(path, consumer) as child:
        with server.accept(TIMEOUT) as shared, ExitStack() as undo:
            words = shared.buffer(WORDS, "uint32", name="words")
            results = [shared.producer.create_buffer(words.nbytes, host_visible=True) for _ in range(BATCH)]
            for result in results:
                undo.callback(result.close)
            undo.callback(shared.synchronize)
            wrong, pending = 0, list[int]()
            turn = shared.producer_turn(words)
            start = time.monotonic()
            for frame in range(count + 1):
                with turn as commands:
                    if frame:
                        commands.copy(words, results[(frame - 1) % BATCH])
                        pending.append(frame - 1)
                    commands.fill(words, frame)
                if len(pending) == BATCH or frame == count:
                    shared.synchronize()
                    for each in pending:
                        seen = np.frombuffer(results[each % BATCH].host_view(), np.uint32, WORDS)
                        wrong += not bool((seen == each + 1).all())
                        del seen
                    pending.clear()
            seconds = time.monotonic() - start
            explanation, peer = shared.explain(), shared.peer.pid
            assert peer == child.process.pid
        status = child.process.wait(TIMEOUT)
    return {
        "frames": count,
        "wrong": wrong,
        "consumer_status": status,
        "frames_per_second": count / seconds,
        "seconds": seconds,
        "explanation": explanation,
    }


def killed(server: Server, path: str, consumer: str) -> dict[str, object]:
    """Kill a consumer in its turn; return what the producer saw, and how soon."""
    with Child(path, consumer, stop_at=SESSION_FRAMES) as child:
        lost, waited, named = "", 0.0, False
        start = closing = time.monotonic()
        try:
            with server.accept(TIMEOUT) as shared:
                words = shared.buffer(WORDS, "uint32", name="words")
                for frame in range(SESSION_FRAMES + 1):
                    with shared.producer_turn(words) as commands:
                        commands.fill(words, frame)
                assert child.process.stdout is not None
                child.process.stdout.readline()
                child.process.send_signal(signal.SIGKILL)
                start = time.monotonic()
                try:
                    with shared.producer_turn(words) as commands:
                        commands.fill(words, 0)
                except interop.ipc.PeerLost as error:
                    lost, waited = str(error), time.monotonic() - start
                    named = error.pid == child.process.pid
                    raise
        except interop.ipc.PeerLost:
            closing = time.monotonic() - start
    good = bool(lost) and named and closing < TIMEOUT
    return {"peer_lost": lost, "seconds_to_know": waited, "seconds_to_close": closing, "good": good}


def main() -> int:
    """Run both, twice where the first time warms the drivers up."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="opencl")
    parser.add_argument("--frames", type=int, default=10_000)
    parser.add_argument("--sync", default="auto")
    parser.add_argument("--json", type=Path, help="write the figures there too")
    parser.add_argument("--be-consumer", default="", help=argparse.SUPPRESS)
    parser.add_argument("--stop-at", type=int, default=-1, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.be_consumer:
        consume(options.be_consumer, options.consumer, options.stop_at)
        return 0
    figures: dict[str, object] = {"consumer": options.consumer, "sync": options.sync}
    with tempfile.TemporaryDirectory(prefix="interop-") as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - a string is what the call takes
        with interop.ipc.serve(path, "vulkan", sync=options.sync, timeout=TIMEOUT) as server:
            frames(server, path, options.consumer, 2 * BATCH)
            before = leaks.snapshot()
            run = figures["run"] = frames(server, path, options.consumer, options.frames)
            kill = figures["killed"] = killed(server, path, options.consumer)
            again = figures["after"] = frames(server, path, options.consumer, SESSION_FRAMES)
            figures["left_behind"] = leaks.leaked_since(before)
    clean = all(each["wrong"] == 0 and each["consumer_status"] == 0 for each in (run, again))
    figures["passed"] = passed = clean and bool(kill["good"]) and not figures["left_behind"]
    text = json.dumps(figures, indent=2)
    if options.json:
        options.json.write_text(text + "\n", encoding="utf-8")
    print(text)
    print(
        f"{'passed' if passed else 'FAILED'}: {options.consumer}, {run['frames']} frames, {run['wrong']} wrong, "
        f"{run['frames_per_second']:.0f} frames per second; killed peer known after "
        f"{kill['seconds_to_know']:.3f} s"
    )
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
