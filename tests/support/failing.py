"""Each driver call of a run made to fail once, below the framework: what became of it, and what was left.

The software drivers of OpenCL and HIP have a switch for the n-th call of a function. Vulkan's functions are
wrapped where the backend gets their pointers from: its code, and all above, is what it always is.

As a command, for all combinations or some: ``python tests/support/failing.py [--every 7] [hip/native ...]``.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import json
import os
import re
import sys
import time
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

import interop
from interop import InteropError, KernelError
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator

CASES = (
    ("numpy", "bridged"),
    ("numpy", "blocking"),
    ("opencl", "native"),
    ("opencl", "bridged"),
    ("opencl", "blocking"),
    ("hip", "native"),
    ("hip", "bridged"),
    ("hip", "blocking"),
)
COUNT = 64
FRAMES = 3
TIMEOUT = 0.3
"""Seconds that a link waits for what a failed call has left undone."""
PATIENCE = 10.0
"""And one of which no call fails, on a machine that may be busy."""
MOST = 24
"""Calls of one function that are failed, from the first: beyond it are polls, as many as time allows."""
HANG = 30.0
"""Seconds after which a run counts as hanging, far above every bound of the framework."""
RELEASING = re.compile(
    r"^(vk(Destroy|Free)|cl(Release|SetUserEventStatus)|hip(Free|HostFree|Destroy|ModuleUnload|StreamDestroy"
    r"|EventDestroy|HostUnregister)|hiprtcDestroy)"
)
"""Calls that give something back: when the driver refuses, it keeps the thing, and nobody can free it."""
MIX = """
KERNEL void mix_up(GLOBAL_MEM unsigned int *data, unsigned int frame)
{
    data[GLOBAL_ID(0)] = data[GLOBAL_ID(0)] * 3u + frame;
}
"""


class Faults(Protocol):
    """A driver whose calls are counted and can be made to fail."""

    def counts(self) -> Counter[str]:
        """Calls so far, by function."""
        ...

    def arm(self, function: str, number: int) -> None:
        """Fail the ``number``-th call of a function from now on."""
        ...

    def disarm(self) -> None:
        """Fail nothing any more."""
        ...

    def live(self) -> int:
        """The driver's objects that are alive."""
        ...


class Software:
    """A library of the software drivers."""

    def __init__(self, path: Path, prefix: bytes) -> None:
        self._library = ctypes.CDLL(str(path))
        for name in ("softgpu_calls", "softgpu_live"):
            getattr(self._library, name).restype = ctypes.c_long
        self._names = sorted({each.decode() for each in re.findall(prefix + rb"[A-Z]\w+", path.read_bytes())})

    def counts(self) -> Counter[str]:
        found = Counter({name: self._library.softgpu_calls(name.encode()) for name in self._names})
        total = self._library.softgpu_calls(b"*")
        assert sum(found.values()) == total, "a function of the library is not among the names found in it"
        return +found

    def arm(self, function: str, number: int) -> None:
        self._library.softgpu_control(b"FAIL", f"{function}:{number}".encode())

    def disarm(self) -> None:
        self._library.softgpu_control(b"FAIL", None)

    def live(self) -> int:
        return int(self._library.softgpu_live(b"*"))


class Vulkan:
    """The functions that the Vulkan backend finds in its driver, each behind a wrapper of the same type."""

    CODES = {"vkWaitSemaphores": -4, "vkQueueSubmit": -4, "vkSignalSemaphore": -4}  # noqa: RUF012 - fixed
    """VK_ERROR_DEVICE_LOST where a device can be lost; VK_ERROR_OUT_OF_HOST_MEMORY everywhere else."""

    def __init__(self) -> None:
        from interop_vulkan import _driver

        self._driver = _driver
        self._kept: dict[int, Any] = {}
        self._counts: Counter[str] = Counter()
        self._live: Counter[str] = Counter()
        self._armed = ("", 0)
        real = _driver._get_instance_function
        _driver._get_instance_function = lambda instance, name: self._wrap(
            real(instance, name), name.decode()
        )

    def _wrap(self, pointer: Any, name: str) -> Any:
        ffi = self._driver.ffi
        if pointer == ffi.NULL:
            return pointer
        address = int(ffi.cast("uintptr_t", pointer))
        if address not in self._kept:
            function = ffi.cast(f"PFN_{name}", pointer)
            kind = ffi.typeof(function)
            body = self._body(function, name, kind.result.cname)
            self._kept[address] = ffi.callback(kind, body)
        return self._kept[address]

    def _body(self, function: Any, name: str, result: str) -> Callable[..., Any]:
        if name == "vkGetDeviceProcAddr":
            text = self._driver.ffi.string
            cast = self._driver.ffi.cast
            return lambda device, wanted: cast(
                "PFN_vkVoidFunction", self._wrap(function(device, wanted), text(wanted).decode())
            )
        kind = re.sub(r"^vk(Create|Destroy|Allocate|Free)", "", name)
        makes, frees = (
            name.startswith(("vkCreate", "vkAllocateMemory")),
            name.startswith(("vkDestroy", "vkFreeMemory")),
        )

        def call(*args: Any) -> Any:
            if result.endswith("VkResult") and self._fails(name):
                return self.CODES.get(name, -1)
            if frees and args[-2] == self._driver.NULL:
                return function(*args)
            code = function(*args)
            if frees or (makes and not code):
                self._live[kind] += -1 if frees else 1
            return code

        return call

    def _fails(self, name: str) -> bool:
        self._counts[name] += 1
        function, left = self._armed
        if name != function:
            return False
        self._armed = function, left - 1
        return left == 1

    def counts(self) -> Counter[str]:
        return Counter(self._counts)

    def arm(self, function: str, number: int) -> None:
        self._armed = function, number

    def disarm(self) -> None:
        self._armed = "", 0

    def live(self) -> int:
        return sum(self._live.values())


def drivers(consumer: str) -> dict[str, Faults]:
    """Return the drivers that a link to ``consumer`` calls."""
    return {"vulkan": Vulkan(), **software(consumer)}


def software(consumer: str) -> dict[str, Faults]:
    """Return those of them that are software drivers with switches."""
    found: dict[str, Faults] = {}
    if consumer == "opencl":
        found["opencl"] = Software(Path(os.environ["OPENCL_LAYERS"]), b"cl")
    if consumer == "hip":
        folder = Path(os.environ["ROCM_PATH"], "lib")
        found["hip"] = Software(folder / "libamdhip64.so", b"hip")
        found["hiprtc"] = Software(folder / "libhiprtc.so", b"hiprtc")
    return found


@dataclass(kw_only=True)
class Outcome:
    """What became of the runs with one failing call each."""

    failed: int = 0
    """Calls made to fail."""
    typed: int = 0
    """Runs that ended with an error of the framework."""
    absorbed: int = 0
    """Runs that went on and came out right, such as after a probe that was refused."""
    shrugged: dict[str, int] = field(default_factory=dict[str, int])
    """The functions of those."""
    kept: int = 0
    """Runs after which the driver keeps just what it refused to give back."""
    seconds: float = 0.0
    defects: list[str] = field(default_factory=list[str])
    """Leaks, hangs, wrong results, errors of other types, and later runs that failed."""


def frames(consumer: str, sync: Any, timeout: float = PATIENCE) -> bool:
    """Connect, run frames, close; return whether every word came out right."""
    with contextlib.ExitStack() as stack:
        link = stack.enter_context(interop.connect(consumer=consumer, sync=sync, timeout=timeout))
        buffer = link.buffer(COUNT, "uint32")
        result = link.producer.create_buffer(4 * COUNT, host_visible=True)
        stack.callback(result.close)
        module = link.consumer.compile(MIX)
        stack.callback(module.close)
        kernel = module.kernel("mix_up")
        right = True
        for frame in range(FRAMES):
            with link.producer_turn(buffer) as commands:
                commands.fill(buffer, 7 + frame)
            with link.consumer_turn(buffer) as view:
                kernel(view, np.uint32(frame), global_size=COUNT, local_size=COUNT)
                if frame == FRAMES - 1:
                    seen = np.zeros(COUNT, np.uint32)
                    view.read(seen, timeout=4 * timeout)
                    right = right and bool((seen == (7 + frame) * 3 + frame).all())
            with link.producer_turn(buffer) as commands:
                commands.copy(buffer, result)
        link.synchronize()
        with result.host_view() as view:
            right = right and bool(
                (np.frombuffer(view, np.uint32)[:COUNT] == (6 + FRAMES) * 3 + FRAMES - 1).all()
            )
        if sync == "native":
            right = right and recorded(link, kernel, timeout)
    return right


def recorded(link: interop.Link, kernel: Any, timeout: float) -> bool:
    """Run frames through a ring, recorded once, until they repeat; return whether every word came out right."""
    ring = link.ring((COUNT,), "uint32", slots=4, batch=2)
    ring.run(
        6 * len(ring.slots),
        produce=lambda commands, slot: commands.fill(slot, 5 + slot.index),
        consume=lambda slot: kernel.prepare(slot.view, np.uint32(1), global_size=COUNT, local_size=COUNT),
    )
    right = True
    for batch in ring.batches(len(ring.slots)):  # as they are
        with batch.producer():
            pass
        with batch.consumer():
            for _, slot in batch:
                seen = np.zeros(COUNT, np.uint32)
                slot.view.read(seen, timeout=4 * timeout)
                right = right and bool((seen == (5 + slot.index) * 3 + 1).all())
    ring.close()
    return right


class Campaign:
    """One consumer and strategy: every call failed once."""

    def __init__(self, consumer: str, sync: Any) -> None:
        self.consumer, self.sync = consumer, sync
        self.outcome = Outcome()
        self.faults = drivers(consumer)
        for _ in range(3):  # drivers open files and start threads at first use, and keep them
            assert frames(consumer, sync)
        before = {name: driver.counts() for name, driver in self.faults.items()}
        assert frames(consumer, sync)
        self.calls = {name: driver.counts() - before[name] for name, driver in self.faults.items()}
        faulthandler.dump_traceback_later(
            HANG, exit=True
        )  # has a thread of its own, which belongs to the baseline
        self.baseline, self.live = leaks.snapshot(), self._live()

    def _live(self) -> dict[str, int]:
        return {name: driver.live() for name, driver in self.faults.items()}

    def points(self) -> Iterator[tuple[str, str, int]]:
        """Every call of a run: driver, function, number."""
        for name, counts in self.calls.items():
            for function, count in sorted(counts.items()):
                for number in range(1, min(count, MOST) + 1):
                    yield name, function, number

    def run(self, every: int = 1) -> Outcome:
        """Fail each ``every``-th call, and the first of each function, once."""
        started = time.monotonic()
        for position, (name, function, number) in enumerate(self.points()):
            if number == 1 or position % every == 0:
                self.fail(name, function, number)
        self.outcome.seconds = round(time.monotonic() - started, 1)
        return self.outcome

    def fail(self, name: str, function: str, number: int) -> None:
        """Run once with one call failing, then once without; what is left must be what was there before."""
        outcome, where = self.outcome, f"{self.consumer}/{self.sync} {function}:{number}"
        outcome.failed += 1
        faulthandler.dump_traceback_later(HANG, exit=True)  # names the call that hangs, and ends the process
        begun = time.monotonic()
        said, defects = self._attempt(name, function, number)
        if time.monotonic() - begun > HANG / 2:
            defects.append(f"took {time.monotonic() - begun:.1f} s")
        left = self._left()
        try:
            if not frames(self.consumer, self.sync):
                defects.append("the next run came out wrong")
        except InteropError as error:
            defects.append(f"the next run failed: {error}")
        if left:  # a driver may start a thread of its own at some first occasion, and keep it: not every time
            self._rebase()
            self._attempt(name, function, number)
            left = self._left()
        if left and RELEASING.match(function):
            outcome.kept += 1
        elif left:
            defects.append(f"left {left}")
        self._rebase()
        outcome.defects += [f"{where}: {defect} ({said})" for defect in defects]
        outcome.typed += bool(said)
        if not said:
            outcome.shrugged[function] = outcome.shrugged.get(function, 0) + 1
            outcome.absorbed += 1

    def _rebase(self) -> None:
        self.baseline, self.live = leaks.snapshot(), self._live()

    def _attempt(self, name: str, function: str, number: int) -> tuple[str, list[str]]:
        """Run with one call failing; return the framework's error, and what was wrong."""
        said, defects = "", list[str]()
        self.faults[name].arm(function, number)
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            try:
                if not frames(self.consumer, self.sync, TIMEOUT):
                    defects.append("wrong result and no error")
            except InteropError as error:
                said = f"{type(error).__name__}: {error}"
                if isinstance(error, KernelError) and not function.startswith(("hiprtc", "cl", "hipModule")):
                    defects.append("blamed on the kernel")
            except Exception as error:  # noqa: BLE001 - the defect that is looked for
                defects.append(f"{type(error).__name__}: {error}")
            finally:
                self.faults[name].disarm()
            leaks.snapshot()  # collects what was dropped, whose warnings count
        if not RELEASING.match(function):
            dropped = [each for each in warned if issubclass(each.category, ResourceWarning)]
            defects += [f"warned: {each.message}" for each in dropped]
        return said, defects

    def _left(self) -> list[str]:
        """What is there beyond the baseline, after a time in which threads may end."""
        left = leaks.leaked_since(self.baseline, settle=0.5)
        live = self._live()
        deadline = time.monotonic() + 0.5
        while any(now > self.live[name] for name, now in live.items()) and time.monotonic() < deadline:
            time.sleep(0.01)
            live = self._live()
        grown = {name: now - self.live[name] for name, now in live.items() if now > self.live[name]}
        return left + [f"{count} objects of {name}" for name, count in grown.items()]

    def line(self) -> str:
        """Sum up."""
        found = self.outcome
        calls = sum(sum(each.values()) for each in self.calls.values())
        return (
            f"{self.consumer}/{self.sync}: {calls} calls in a run, {found.failed} failed, {found.typed} typed errors, "
            f"{found.absorbed} absorbed, {found.kept} kept by the driver, {len(found.defects)} defects, "
            f"{found.seconds} s"
        )


def campaign(consumer: str, sync: Any, every: int) -> dict[str, Any]:
    """Run a campaign in this process, which should be a fresh one."""
    made = Campaign(consumer, sync)
    made.run(every)
    faulthandler.cancel_dump_traceback_later()
    return {**asdict(made.outcome), "line": made.line()}


def broken(consumer: str, sync: Any) -> dict[str, Any]:
    """Fail calls with a framework that has two faults made on purpose, to prove that they are seen."""
    from interop_hip import _runtime as hip
    from interop_vulkan import _driver as vulkan

    made = Campaign(consumer, sync)

    @contextlib.contextmanager
    def releasing(self: hip.HipRuntime, _leaked: str = "") -> Generator[None]:
        self.select()
        yield

    def untyped(function: str, *_words: object, **_more: object) -> None:
        raise KeyError(function)

    hip.HipRuntime.releasing = releasing  # type: ignore[method-assign]
    last = min(made.calls["hip"]["hipSetDevice"], MOST)
    for number in range(last - 2, last + 1):
        made.fail("hip", "hipSetDevice", number)
    vars(vulkan)["DriverError"] = untyped
    made.outcome.defects += made._attempt("vulkan", "vkCreateBuffer", 1)[1]
    faulthandler.cancel_dump_traceback_later()
    return asdict(made.outcome)


def _say(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a command


def main() -> int:
    """Run the campaigns that the command line names, each in a process of its own; 1 for any defect."""
    import fresh

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", default=[f"{consumer}/{sync}" for consumer, sync in CASES])
    parser.add_argument("--every", type=int, default=1, help="fail only each n-th call")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    total: Counter[str] = Counter()
    for case in options.cases:
        consumer, sync = case.split("/")
        done = fresh.attempt(campaign, timeout=3600.0, consumer=consumer, sync=sync, every=options.every)
        if done.status != 0:
            _say(f"{case}: ended with status {done.status}\n{done.output}")
            total["hung or crashed"] += 1
            continue
        _say(json.dumps(done.result) if options.json else done.result["line"])
        for defect in done.result["defects"]:
            _say(f"  {defect}")
        total["failed"] += done.result["failed"]
        total["defects"] += len(done.result["defects"])
    _say(
        f"{total['failed']} calls failed, {total['defects']} defects, {total['hung or crashed']} hung or crashed"
    )
    return 1 if total["defects"] or total["hung or crashed"] else 0


if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent))
    import failing  # this file as a module, which the processes import

    sys.exit(failing.main())
