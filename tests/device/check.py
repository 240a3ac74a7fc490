"""One command for a machine with a GPU: every check and measurement, and a report to paste or attach.

    python tests/device/check.py --consumers opencl,cuda,hip --out report

Runs `interop doctor`; `interop compare` with each synchronisation strategy; every kind of shared image; the
conformance kit for each consumer, by device memory and by host memory; a soak with every frame verified; the
same between two processes; several links at once; frame rings, imports, copies, turns and the first frame, each
against the same by hand; PyTorch's tensors, where there is PyTorch, and under NVIDIA's memory checker, where there
is that; and the plugins' own device tests. On an NVIDIA GPU without
ROCm it first builds the software HIP runtime, runs its suites over CUDA, and lets the HIP backend use it. Writes
everything into the folder given, with `report.json` as the summary; `--only 'compare-*,soak-*'` runs a part of
it. Exits with 1 when something failed; a consumer that is not available is reported with its reason and fails
only when it was named.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

import memcheck

from interop.cli._measures import MEASURES

if TYPE_CHECKING:
    from collections.abc import Sequence

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent.parent
PATIENCE = 200.0
"""Seconds for a step, where nothing else is said."""
NEEDED = ("doctor", "hip-on-cuda-configure", "hip-on-cuda-build")
"""Steps that others stand on."""
PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
TAKE_IMAGES = ("opencl", "cuda", "hip")
TAIL = 40  # lines of output shown for a step that failed


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One command that was run."""

    name: str
    command: list[str]
    status: int
    seconds: float
    log: str


class Report:
    """The steps so far, in a folder."""

    def __init__(self, folder: Path, only: Sequence[str] = ("*",)) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.only = [*only, *NEEDED]
        self.steps: list[Step] = []

    def run(self, name: str, *command: str, timeout: float = PATIENCE) -> bool:
        """Run a step; its output goes to a file of its own. Never raises for what the step does.

        What does not end in ``timeout`` seconds says where it stood: Python prints the stacks of its threads.
        """
        if not any(fnmatchcase(name, pattern) for pattern in self.only):
            return True
        log = self.folder / f"{name}.log"
        start = time.monotonic()
        with log.open("w", encoding="utf-8") as sink:
            status = ended(command, sink, timeout)
        seconds = time.monotonic() - start
        output = log.read_text(encoding="utf-8", errors="replace")
        self.steps.append(Step(name=name, command=[*command], status=status, seconds=seconds, log=log.name))
        print(f"{'ok  ' if status == 0 else 'FAIL'} {name:32} {seconds:7.1f} s", flush=True)
        if status != 0:
            print("\n".join(f"     {line}" for line in output.splitlines()[-TAIL:]), flush=True)
        return status == 0

    def write(self) -> None:
        """Write the summary."""
        summary = {"steps": [asdict(step) for step in self.steps]}
        for name in ("doctor", "compare-auto"):
            path = self.folder / f"{name}.json"
            if path.exists():
                summary[name] = json.loads(path.read_text(encoding="utf-8"))
        (self.folder / "report.json").write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")


def ended(command: Sequence[str], sink: TextIO, timeout: float) -> int:
    """Run a command in a process group of its own and return its status; end it when the time is over."""
    environment = {**os.environ, "PYTHONFAULTHANDLER": "1"}
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=sink, stderr=sink, env=environment, start_new_session=True
    )
    try:
        return process.wait(timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGABRT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(5)
        sink.write(f"\nended after {timeout:g} s\n")
        return 124
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def hip_on_cuda(report: Report) -> None:
    """Build the software HIP runtime, test it over CUDA, and offer it to the steps that follow."""
    if not Path("/dev/nvidiactl").exists() or Path("/dev/kfd").exists() or "ROCM_PATH" in os.environ:
        return
    own = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    cmake, ctest = shutil.which("cmake", path=own), shutil.which("ctest", path=own)
    if cmake is None or ctest is None:
        print("skip hip-on-cuda: the HIP runtime is built with cmake, which is not here", flush=True)
        return
    build = report.folder / "hip-on-cuda"
    options = ["-DSOFTGPU_TESTS=ON", "-DSOFTGPU_DRIVERS=hip", "-DSOFTGPU_TEST_CUDA=device"]
    configure = [cmake, "-S", str(ROOT / "plugins" / "softgpu"), "-B", str(build), *options]
    if not report.run("hip-on-cuda-configure", *configure):
        return
    if not report.run("hip-on-cuda-build", cmake, "--build", str(build), "--parallel"):
        return
    suites = ["-R", "^hip_cuda", "--output-on-failure", "--no-tests=error"]
    report.run("hip-on-cuda-suites", ctest, "--test-dir", str(build), *suites)
    os.environ.setdefault("INTEROP_SOFTGPU_BUILD", str(build))
    os.environ["ROCM_PATH"] = str(build / "rocm")


def available(folder: Path) -> set[str]:
    """Return the consumers that doctor found usable."""
    found = json.loads((folder / "doctor.json").read_text(encoding="utf-8"))
    return {
        state["name"] for state in found["backends"] if state["available"] and "consumer" in state["roles"]
    }


def tensors(report: Report, consumers: Sequence[str]) -> None:
    """Check PyTorch's tensors; in some orders of deletion once more under compute-sanitizer."""
    if importlib.util.find_spec("torch") is None:
        print("skip torch: PyTorch is not installed", flush=True)
        return
    pytest = [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"]
    report.run("torch", *pytest, str(HERE / "test_torch.py"), timeout=600.0)
    if "cuda" not in consumers or memcheck.checker() is None:
        print("skip memcheck: needs the cuda consumer and compute-sanitizer", flush=True)
        return
    report.run("memcheck", sys.executable, str(HERE / "memcheck.py"), "--consumer", "cuda")


def each(report: Report, name: str, options: argparse.Namespace) -> None:
    """Run what is for one consumer."""
    kit = ["-p", "interop.testing.plugin", "--pyargs", "interop.testing.conformance"]
    kit.append(f"--interop-backend={name}")
    for kind, chosen in (("", []), ("-host-memory", ["--interop-handle-type=host_allocation"])):
        step = f"conformance-{name}{kind}"
        report.run(step, *PYTEST, *kit, *chosen, f"--interop-matrix={report.folder / step}.json")
    rings = ROOT / "tests/support/ring_modes.py"
    programs: dict[str, list[object]] = {
        "newest-frames": [rings, "--frames", options.soak, "--slow", "taker", "--rounds", 20],
        "all-frames": [rings, "--mode", "throughput", "--frames", options.soak, "--batch", 8],
        "soak": [HERE / "soak.py", "--frames", options.soak],
        "two-processes": [HERE / "two_processes.py", "--frames", options.apart],
        "own-vulkan": [ROOT / "examples/own_vulkan.py"],
    }
    for step, program in programs.items():
        report.run(f"{step}-{name}", sys.executable, *map(str, program), "--consumer", name)


def speed(report: Report, consumers: str, ring: float) -> None:
    """Hold what a hand-over, an import, a copy and the first frame cost against the same by hand in the same run."""
    folder = report.folder
    outputs = ["--json", str(folder / "bench.json"), "--png", str(folder / "bench.png")]
    measures = ",".join(sorted(set(MEASURES) - {"ring"}))  # which has a program of its own
    bench = [sys.executable, "-m", "interop", "bench", "--consumers", consumers, "--measure", measures]
    bench += ["--by-hand", str(ROOT / "benchmarks" / "by_hand")]
    report.run("bench", *bench, *outputs, timeout=300.0)
    programs: dict[str, tuple[object, ...]] = {
        "ring": ("--seconds", ring, "--png", folder / "ring.png"),
        "peers": (),
        "growth": (),
    }
    for name, options in programs.items():
        command = [ROOT / "benchmarks" / f"{name}.py", "--consumers", consumers]
        command += ["--json", folder / f"{name}.json", *options]
        report.run(name, sys.executable, *map(str, command), timeout=600.0)


def main() -> int:
    """Run everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--consumers", default="", help="comma-separated; all available ones by default")
    parser.add_argument("--frames", type=int, default=600, help="frames of each comparison")
    parser.add_argument("--soak", type=int, default=100_000, help="frames of each soak")
    parser.add_argument("--apart", type=int, default=10_000, help="frames between two processes")
    parser.add_argument("--ring", type=float, default=0.12, help="seconds of each run through a ring")
    parser.add_argument("--only", default="*", help="steps to run, as patterns separated by commas")
    parser.add_argument("--out", type=Path, default=Path("device-report"))
    options = parser.parse_args()
    report = Report(options.out.resolve(), options.only.split(","))
    folder = report.folder
    hip_on_cuda(report)
    interop = [sys.executable, "-m", "interop"]
    report.run("doctor", *interop, "doctor", "--json", str(folder / "doctor.json"))
    named = [name.strip() for name in options.consumers.split(",") if name.strip()]
    here = available(folder)
    for name in named:
        if name not in here:
            report.run(f"available-{name}", *interop, "compare", "--consumers", name, "--frames", "1")
    consumers = [name for name in named or sorted(here) if name in here]
    for sync in ("auto", "native", "bridged", "blocking"):
        outputs = [
            "--json",
            str(folder / f"compare-{sync}.json"),
            "--png",
            str(folder / f"compare-{sync}.png"),
        ]
        common = ["--consumers", ",".join(consumers), "--frames", str(options.frames), "--sync", sync]
        report.run(f"compare-{sync}", *interop, "compare", *common, *outputs, timeout=100.0)
    if imaging := [name for name in consumers if name in TAKE_IMAGES]:
        outputs = ["--json", str(folder / "images.json")]
        report.run(
            "images", sys.executable, str(HERE / "images.py"), "--consumers", ",".join(imaging), *outputs
        )
    for name in consumers:
        each(report, name, options)
    if consumers:
        report.run("many-links", sys.executable, str(HERE / "links.py"), "--consumers", ",".join(consumers))
    behaviour = ROOT / "tests/contract/test_driver_behaviour.py"
    if "opencl" in consumers and Path("/dev/nvidiactl").exists():
        report.run("driver-behaviour", *PYTEST, str(behaviour))
        report.run("probes", sys.executable, str(HERE / "probes.py"))
    if consumers:
        speed(report, ",".join(consumers), options.ring)
    tensors(report, consumers)
    for tests in sorted([HERE / "test_two_gpus.py", *ROOT.glob("plugins/*/tests/test_*_device.py")]):
        report.run(tests.stem, *PYTEST, str(tests))
    report.write()
    failed = [step.name for step in report.steps if step.status != 0]
    print(f"{len(report.steps) - len(failed)} passed, {len(failed)} failed; report in {folder}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
