"""The two processes of the tests of interop.ipc, as functions for fresh.call and as programs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import interop
import interop.ipc
from interop.testing import leaks

_PROGRAM = Path(__file__).parents[1] / "device/two_processes.py"


def program() -> Any:
    """Return the module of the device check, which is the same work."""
    spec = importlib.util.spec_from_file_location("two_processes", _PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def sessions(consumer: str, sync: str, frames: int) -> dict[str, Any]:
    """Run frames, kill a consumer in its turn, serve another; return all figures."""
    work = program()
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - a string is what the call takes
        with interop.ipc.serve(path, "vulkan", sync=sync, timeout=work.TIMEOUT) as server:
            work.frames(server, path, consumer, 2)
            before = leaks.snapshot()
            found = {
                "run": work.frames(server, path, consumer, frames),
                "killed": work.killed(server, path, consumer),
                "after": work.frames(server, path, consumer, 20),
            }
            return {**found, "left": leaks.leaked_since(before)}


def serve_and_stall(path: str) -> None:
    """Be a producer's process that is killed: hand three turns over, then say so and stop."""
    with interop.ipc.serve(path) as server, server.accept() as shared:
        words = shared.buffer(1024, "uint32", name="words")
        for frame in range(3):
            with shared.producer_turn(words) as commands:
                commands.fill(words, frame)
        sys.stdout.write("stalled\n")
        sys.stdout.flush()
        time.sleep(600)


def survive_producer(consumer: str) -> dict[str, Any]:
    """Be a consumer whose producer's process is killed between its turns, twice."""
    seen: list[tuple[bool, float]] = []
    before = leaks.Resources(descriptors={}, threads={})
    for attempt in range(3):
        if attempt == 1:  # the first one warms the drivers up
            before = leaks.snapshot()
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "socket")  # noqa: PTH118 - as above
            command = [sys.executable, "-c", f"import ipc_hosts; ipc_hosts.serve_and_stall({path!r})"]
            with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
                start = time.monotonic()
                try:
                    with interop.ipc.join(path, consumer, timeout=10.0) as remote:
                        words = remote.buffer("words")
                        for _ in range(2):
                            with remote.consumer_turn(words):
                                pass
                        with remote.consumer_turn(words):
                            pass
                        assert process.stdout is not None
                        process.stdout.readline()
                        process.send_signal(signal.SIGKILL)
                        start = time.monotonic()
                        with remote.consumer_turn(words):
                            pass
                except interop.ipc.PeerLost as lost:
                    seen.append((lost.pid == process.pid, time.monotonic() - start))
                finally:
                    process.kill()
    return {"seen": seen, "left": leaks.leaked_since(before)}


def consume_parts(path: str, consumer: str, count: int) -> None:
    """Be a consumer's process that adds its number to each word of each buffer; print what its driver counted."""
    import parts

    with interop.ipc.join(path, consumer, timeout=20.0) as remote:
        remote.buffer("alone")
        counted = parts.Count(consumer)  # the first buffer has made the driver start
        buffers = [remote.buffer(f"part{number}") for number in range(count)]
        made = counted()
        for number, buffer in enumerate(buffers):
            with remote.consumer_turn(buffer) as view:
                words = bytearray(view.nbytes)
                view.read(words)
                view.write(_plus(memoryview(words).cast("I"), number))
        with contextlib.suppress(interop.ipc.PeerLost), remote.consumer_turn(*buffers):
            pass  # the producer's process ends once it has handed this turn over
        sys.stdout.write(f"{made[0]} {counted()[1]}\n")


def _plus(words: memoryview, number: int) -> bytes:
    return b"".join((word + number).to_bytes(4, "little") for word in words)


def parts_over_a_socket(consumer: str, count: int) -> dict[str, Any]:
    """Share parts of one allocation with another process, both ways; return its driver's count and wrong parts."""
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - a string is what the call takes
        code = f"import ipc_hosts; ipc_hosts.consume_parts({path!r}, {consumer!r}, {count})"
        with (
            interop.ipc.serve(path, "vulkan", timeout=20.0) as server,
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process,
        ):
            with server.accept() as shared:
                shared.buffer(16, "uint32", name="alone")
                layout: Any = {f"part{number}": (10 + number, "uint32") for number in range(count)}
                parts = shared.buffers(**layout)
                results = [shared.producer.create_buffer(part.nbytes, host_visible=True) for part in parts]
                for number, part in enumerate(parts):
                    with shared.producer_turn(part) as commands:
                        commands.fill(part, 1000 * number)
                with shared.producer_turn(*parts) as commands:
                    for part, result in zip(parts, results, strict=True):
                        commands.copy(part, result)
                shared.synchronize()
                wrong = 0
                for number, result in enumerate(results):
                    with result.host_view() as seen:
                        wrong += set(seen[: parts[number].nbytes].cast("I")) != {1001 * number}
                    result.close()
            output, _ = process.communicate(timeout=20.0)
    imported, held = map(int, output.split())
    return {"imported": imported, "held": held, "wrong": wrong, "status": process.returncode}


def refusal(sync: str) -> dict[str, Any]:
    """Return what both sides raise when the producer's process cannot agree."""
    errors: list[str] = []
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "socket")  # noqa: PTH118 - as above
        code = f"import interop.ipc\ntry: interop.ipc.join({path!r})\nexcept interop.ipc.PeerError as e: print(e)"
        with (
            interop.ipc.serve(path, sync=sync) as server,
            subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process,
        ):
            try:
                server.accept(20.0).close()
            except interop.InteropError as error:
                errors.append(type(error).__name__)
            output, _ = process.communicate(timeout=20.0)
    return {"errors": errors, "told": output}
