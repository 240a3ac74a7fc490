"""Functions run in a fresh process: loaders of drivers read their environment once, at their first use.

A function of a module that the child can import is called there with arguments that JSON can carry, and what
it returns comes back. Its module is found by name, so it is written and type-checked like any other code.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

SUPPORT = Path(__file__).parent
_RESULT = "INTEROP_TEST_RESULT"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """What became of a process."""

    status: int
    """Exit status; negative for the signal that ended it."""
    output: str
    """Standard output and standard error together."""
    seconds: float
    result: Any = None
    """What the function returned."""


def environment(changes: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, its import path and ``changes`` on top."""
    path = os.pathsep.join([str(SUPPORT), *(entry for entry in sys.path if entry)])
    return {**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1", **(changes or {})}


def run(
    command: Sequence[str | Path],
    changes: Mapping[str, str] | None = None,
    *,
    timeout: float = 60.0,
    cwd: Path | None = None,
    interrupt_at: str = "",
) -> Finished:
    """Run a command to its end; TimeoutError, with its output, when it takes longer than ``timeout`` seconds.

    ``interrupt_at``: send SIGINT, as Ctrl-C does, when a line of the output begins with this.
    """
    start = time.monotonic()
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(
            [str(part) for part in command], stdout=sink, stderr=sink, cwd=cwd, env=environment(changes)
        )
        sent = not interrupt_at
        try:
            while process.poll() is None:
                if time.monotonic() - start > timeout:
                    message = f"still running after {timeout} s: {_read(sink)}"
                    raise TimeoutError(message)
                if not sent and interrupt_at in _read(sink):
                    process.send_signal(signal.SIGINT)
                    sent = True
                time.sleep(0.005)
        finally:
            process.kill()
            process.wait()
        return Finished(status=process.returncode, output=_read(sink), seconds=time.monotonic() - start)


def _read(sink: Any) -> str:
    """Read the whole file; the child's own offset is another one only with ``pread``."""
    return bytes(os.pread(sink.fileno(), 1 << 24, 0)).decode(errors="replace")


def attempt(
    function: Callable[..., object],
    changes: Mapping[str, str] | None = None,
    *,
    timeout: float = 60.0,
    interrupt_at: str = "",
    prefix: Sequence[str] = (),
    **arguments: Any,
) -> Finished:
    """Call ``function(**arguments)`` in a process with that environment, however it ends.

    ``prefix``: a command that starts the process with something changed (``setarch``).
    """
    with tempfile.TemporaryDirectory(prefix="interop-test-") as folder:
        answer = Path(folder, "result.json")
        target = f"{function.__module__}:{function.__qualname__}"
        command = [*prefix, sys.executable, str(SUPPORT / "fresh.py"), target, json.dumps(arguments)]
        changes = {**(changes or {}), _RESULT: str(answer)}
        done = run(command, changes, timeout=timeout, cwd=Path(folder), interrupt_at=interrupt_at)
        result = json.loads(answer.read_text(encoding="utf-8")) if answer.exists() else None
        return Finished(status=done.status, output=done.output, seconds=done.seconds, result=result)


def call(
    function: Callable[..., object],
    changes: Mapping[str, str] | None = None,
    *,
    timeout: float = 60.0,
    **arguments: Any,
) -> Any:
    """Return what ``function(**arguments)`` returns in a process with that environment; it must succeed."""
    done = attempt(function, changes, timeout=timeout, **arguments)
    assert done.status == 0, f"exit status {done.status}\n{done.output}"
    return done.result


def _child() -> None:
    target, arguments = sys.argv[1:]
    module, _, name = target.partition(":")
    result = getattr(importlib.import_module(module), name)(**json.loads(arguments))
    Path(os.environ[_RESULT]).write_text(json.dumps(result), encoding="utf-8")


if __name__ == "__main__":
    _child()
