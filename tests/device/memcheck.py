"""The example and the tensors in every seventh order, under NVIDIA's memory checker.

    python tests/device/memcheck.py --consumer cuda

Runs both programs under ``compute-sanitizer --tool memcheck --leak-check full``: every access of a kernel to
shared memory is checked, every error of the CUDA API is reported, and so is device memory that is left when
the context ends. Prints what the checker found; exits with 1 when it found something, when a program failed
or ran out of time, and with 2 when there is no checker here.
"""

from __future__ import annotations

import argparse
import gc
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NoReturn

from device_memory import DeviceMemory

HERE = Path(__file__).resolve().parent
EXAMPLE = HERE.parent.parent / "examples/vulkan_to_torch.py"
FOUND = 9  # what the checker exits with when it has found something
TIME_IS_OVER = 124
SUMMARY = re.compile(r"^=+ ((?:ERROR|LEAK) SUMMARY: .*?) *$", re.MULTILINE)
TAIL = 60  # lines shown of a program that failed


def checker() -> Path | None:
    """Return compute-sanitizer, from the path or a toolkit at its usual place."""
    found = shutil.which("compute-sanitizer")
    usual = [Path(found)] if found else sorted(Path("/usr/local").glob("cuda*/bin/compute-sanitizer"))
    return usual[-1] if usual else None


def programs(consumer: str, every: int) -> dict[str, list[str]]:
    """Return the commands to check. Each ends the CUDA context, so that what is left in it is counted."""
    tensors = [str(HERE / "tensors.py"), f"--consumer={consumer}", "--library=torch"]
    tensors += [f"--every={every}", "--frames=10", "--mib=1", "--reset"]
    return {"example": [__file__, "--example", f"--consumer={consumer}"], "tensors": tensors}


def example(consumer: str) -> NoReturn:
    """Run the example in this process, then end the CUDA context and with it the process."""
    import torch  # pyright: ignore[reportMissingImports]

    from interop import registry
    from interop.testing._pair import Pair

    device = Pair.find(registry.default(), "vulkan", consumer).producer
    memory = DeviceMemory.find(device.identity.uuid)
    if memory is None:
        sys.exit(f"{device.name} is no GPU of the CUDA driver")
    sys.argv = [str(EXAMPLE), consumer]
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    gc.collect()
    torch.cuda.empty_cache()
    sys.stdout.flush()
    memory.reset()
    os._exit(0)  # what libraries do at exit would now fail


def run(command: list[str], folder: str, timeout: float) -> tuple[int, str]:
    """Run a command in a process group of its own, which is ended whole when the time is over."""
    with tempfile.TemporaryFile() as sink:
        process = subprocess.Popen(command, cwd=folder, stdout=sink, stderr=sink, start_new_session=True)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            status = TIME_IS_OVER
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        sink.seek(0)
        return status, sink.read().decode(errors="replace")


def judge(status: int, output: str) -> str:
    """Say what became of a program, or return nothing when all is well."""
    summaries = SUMMARY.findall(output)
    if status == FOUND:
        return "; ".join(summaries) or "the checker found errors"
    if status != 0:
        return "ran out of time" if status == TIME_IS_OVER else f"ended with status {status}"
    for what in ("ERROR", "LEAK"):
        if not any(line.startswith(what) for line in summaries):
            return f"the checker printed no {what} SUMMARY, so it has not looked for them"
    return "; ".join(line for line in summaries if not re.search(r"SUMMARY: 0 (errors|bytes)", line))


def main() -> int:
    """Check both programs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumer", default="cuda")
    parser.add_argument("--every", type=int, default=7, help="go through every n-th order only")
    parser.add_argument("--timeout", type=float, default=280.0, help="seconds for each program")
    parser.add_argument("--example", action="store_true", help="be the program that is checked")
    options = parser.parse_args()
    if options.example:
        example(options.consumer)
    tool = checker()
    if tool is None:
        print(
            "no compute-sanitizer on the path or under /usr/local/cuda*/bin: it comes with the CUDA toolkit"
        )
        return 2
    check = [str(tool), "--tool", "memcheck", "--leak-check", "full", "--error-exitcode", str(FOUND)]
    # Of every allocation it would keep Python's frames, and with them all that their variables name.
    check += ["--show-backtrace", "no"]
    failed = False
    for name, program in programs(options.consumer, options.every).items():
        with tempfile.TemporaryDirectory() as folder:
            status, output = run([*check, sys.executable, *program], folder, options.timeout)
        wrong = judge(status, output)
        failed = failed or bool(wrong)
        print(f"{name}: {wrong or 'nothing found'}")
        for line in SUMMARY.findall(output) if not wrong else output.splitlines()[-TAIL:]:
            print(f"    {line}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
