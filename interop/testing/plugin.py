"""The pytest plugin of the conformance kit: options, fixtures, and the matrix at the end.

Loaded by ``-p interop.testing.plugin``, never by itself: an entry point would start it in every suite of the
machine.
"""

from __future__ import annotations

import contextlib
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from interop import registry
from interop.negotiation import MemoryPath
from interop.protocols import (
    FORMATS,
    ConformanceProfile,
    ImageDescriptor,
    InteropError,
    Tiling,
    find_declared,
)
from interop.testing import _matrix as matrix
from interop.testing import leaks
from interop.testing._bench import Bench
from interop.testing._driver_faults import FAULT, blame_driver
from interop.testing._pair import Pair
from interop.testing.conformance import _sources as sources

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from interop.links import Link
    from interop.protocols import Consumer, Producer

_CASES = Path(__file__).with_name("conformance")
_RUN: pytest.StashKey[Run] = pytest.StashKey()
_STRATEGIES = ("native", "bridged", "blocking")


class LinkFactory(Protocol):
    """Makes links of the pair under test; each is closed at the end of the test."""

    def __call__(self, *, sync: Any = "auto", path: Any | None = None, timeout: float | None = None) -> Link:
        """Connect the pair; the arguments are those of ``interop.connect``."""
        ...


class Run:
    """One run of the kit: what was asked for, the devices found, and the results so far."""

    def __init__(self, config: pytest.Config) -> None:
        option: Any = config.getoption  # typed where they are declared
        self.backend: str | None = option("--interop-backend")
        self.producer: str = option("--interop-producer")
        self.device: int | str | None = option("--interop-device")
        self.consumer_device: int | str | None = option("--interop-consumer-device")
        self.sync: Any = option("--interop-sync")
        self.handle_type: Any = option("--interop-handle-type")
        self.timeout: float = option("--interop-timeout")
        self.frames: int = option("--interop-frames")
        self.file: Path | None = option("--interop-matrix")
        self.profile = ConformanceProfile()
        self.matrix = matrix.Matrix()

    @functools.cached_property
    def pair(self) -> Pair:
        """The devices under test, found on first use. Raises what ``interop.connect`` would raise."""
        if self.backend is None:
            raise pytest.UsageError("name the backend to test: --interop-backend=NAME")
        plugins = registry.default()
        devices = {"producer_choice": self.device, "consumer_choice": self.consumer_device}
        pair = Pair.find(plugins, self.producer, self.backend, handle_type=self.handle_type, **devices)
        profile = plugins.conformance_profile(self.backend)
        if isinstance(profile, ConformanceProfile):
            self.profile = profile
        elif profile is not None:
            raise pytest.UsageError(
                f"the conformance profile of {self.backend} is a {type(profile).__name__}"
            )
        return pair

    def connect(self, *, sync: Any = "auto", path: Any | None = None, timeout: float | None = None) -> Link:
        """Connect the pair; the arguments are those of ``interop.connect``."""
        import interop

        return interop.connect(
            producer=self.producer,
            consumer=str(self.backend),
            producer_device=self.device,
            consumer_device=self.consumer_device,
            sync=sync,
            path=path,
            handle_type=None if path == MemoryPath.STAGED.value else self.handle_type,
            timeout=timeout or self.timeout,
        )

    def not_offered(self, item: pytest.Function) -> str | None:
        """Return why the pair does not offer what a case is about, or None where it does."""
        parameters: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
        for mark in item.iter_markers("interop_needs"):
            for need in mark.args:
                if need == "asynchronous" and parameters.get("sync") == "blocking":
                    return "blocking is not asynchronous"
                if need != "asynchronous" and (reason := self.pair.lacks(need)) is not None:
                    return reason
        if "tiling" in parameters:
            return self.pair.lacks_tiling(parameters["tiling"])
        if "kind" in parameters:
            return self.pair.lacks_kind(parameters["kind"])
        # A strategy asked for by name is run whatever the drivers say: that it is missing is a failure.
        if "sync" in parameters and self.sync == "auto":
            return self.pair.lacks_sync(parameters["sync"])
        return None


def _choice(text: str) -> int | str:
    """Read a device from the command line: a number is an index, anything else part of its name."""
    return int(text) if text.isdecimal() else text


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the kit's options."""
    group = parser.getgroup("interop", "interop conformance kit")
    add = group.addoption
    add("--interop-backend", metavar="NAME", help="the consumer to test; it fails where it is not available")
    add("--interop-producer", metavar="NAME", default="vulkan", help="the producer to test it with")
    for side, option in (("producer", "--interop-device"), ("consumer", "--interop-consumer-device")):
        add(option, metavar="N", type=_choice, help=f"{side}'s device: index, or part of its name")
    strategies = ("auto", *_STRATEGIES)
    add("--interop-sync", choices=strategies, default="auto", help="auto: all that the pair offers")
    travels = "how memory is to travel, for instance host_allocation; the best by default"
    add("--interop-handle-type", metavar="TYPE", help=travels)
    add("--interop-timeout", metavar="SECONDS", type=float, default=10.0, help="bound of every wait")
    add("--interop-frames", metavar="N", type=int, default=50, help="frames of each ping-pong")
    add("--interop-matrix", metavar="FILE", type=Path, help="write the results as JSON")


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker and start the run."""
    line = "interop_needs(*needs): the case is about something that not every pair of devices offers"
    config.addinivalue_line("markers", line)
    config.stash[_RUN] = Run(config)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run the cases about links once for each strategy."""
    if metafunc.definition.path.parent == _CASES and "sync" in metafunc.fixturenames:
        wanted = metafunc.config.stash[_RUN].sync
        metafunc.parametrize("sync", _STRATEGIES if wanted == "auto" else (wanted,))


def case_name(item: pytest.Item) -> str:
    """Return the name of a case: its file without ``test_``, and its function without ``test_``."""
    return f"{item.path.stem.removeprefix('test_')}::{item.name.removeprefix('test_')}"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take out what the pair does not offer or the profile rules out; the matrix shows the reasons."""
    cases = [item for item in items if item.path.parent == _CASES and isinstance(item, pytest.Function)]
    if not cases:
        return
    run = config.stash[_RUN]
    try:
        _ = run.pair
    except InteropError as error:
        broken = "".join(f"\n{failure}" for failure in registry.failures())
        raise pytest.UsageError(f"{error}{broken}") from error
    unused = {*run.profile.unsupported, *run.profile.expected_failures, *run.profile.driver_faults}
    dropped: list[pytest.Item] = []
    for item in cases:
        name = case_name(item)
        item.add_marker(pytest.mark.filterwarnings("error"))  # an unclosed handle is a failure
        unsupported = find_declared(name, run.profile.unsupported)
        expected = find_declared(name, run.profile.expected_failures)
        fault = find_declared(name, run.profile.driver_faults)
        unused -= {declared[0] for declared in (unsupported, expected, fault) if declared}
        reason = run.not_offered(item)
        if unsupported is not None:
            run.matrix.note(name, matrix.UNSUPPORTED, unsupported[1])
            dropped.append(item)
        elif reason is not None:
            run.matrix.note(name, matrix.NOT_OFFERED, reason)
            dropped.append(item)
        elif expected is not None:
            item.add_marker(pytest.mark.xfail(reason=expected[1], strict=True))
        elif fault is not None and fault[1].concerns(run.pair.consumer, run.pair.plan.handle_type):
            item.stash[FAULT] = fault[1]
    whole = {item.path for item in cases} >= set(_CASES.glob("test_*.py")) and not config.getoption("keyword")
    if unused and whole and not any("::" in argument for argument in config.args):
        names = ", ".join(sorted(unused))
        raise pytest.UsageError(f"the conformance profile names cases that do not exist: {names}")
    items[:] = [item for item in items if item not in dropped]
    config.hook.pytest_deselected(items=dropped)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Note the outcome of every phase."""
    report = yield
    known = FAULT in item.stash and blame_driver(item, call, report)
    if item.path.parent == _CASES and (report.when == "call" or not report.passed):
        reason = "" if call.excinfo is None else call.excinfo.exconly(tryshort=True).splitlines()[0]
        if report.failed and isinstance(report.longrepr, str):  # a failure of the kit's own making
            reason = report.longrepr
        outcome = matrix.PASSED if report.passed else matrix.FAILED
        if report.skipped:
            outcome = matrix.EXPECTED if hasattr(report, "wasxfail") else matrix.SKIPPED
            outcome = matrix.DRIVER if known else outcome
            reason = str(getattr(report, "wasxfail", reason))
        item.config.stash[_RUN].matrix.note(case_name(item), outcome, reason, report.duration)
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the matrix, and write it where that was asked for."""
    run = config.stash[_RUN]
    if not run.matrix.rows:
        return
    terminalreporter.section(f"interop conformance of {run.backend} with {run.producer}")
    for line in run.matrix.lines(run.pair):
        terminalreporter.line(line)
    if run.file is not None:
        run.matrix.write(run.file, run.pair)
        terminalreporter.line(f"written to {run.file}")


@pytest.fixture
def descriptor_counts(pytestconfig: pytest.Config) -> Iterator[leaks.Resources]:
    """Fail the test when it leaves a descriptor, a thread or a driver's object behind."""
    counters = registry.default().live_objects(str(pytestconfig.stash[_RUN].backend))
    before = leaks.snapshot(counters)
    yield before
    leaked = leaks.leaked_since(before, counters=counters)
    if leaked:
        pytest.fail(f"left behind: {', '.join(leaked)}")


@pytest.fixture(scope="session")
def interop_run(pytestconfig: pytest.Config) -> Iterator[Run]:
    """The options of the run and the pair of devices, which stay open and have been used once.

    Drivers start threads and open files on first use and keep them as long as a device is open, some for
    every new kernel; a test counts what a second use leaves behind.
    """
    run = pytestconfig.stash[_RUN]
    pair = run.pair
    with contextlib.ExitStack() as opened:
        with contextlib.suppress(InteropError):  # a case will fail and say more
            opened.enter_context(pair.open_producer())
            consumer = opened.enter_context(pair.open_consumer())
            for source in sources.EVERY:
                with contextlib.suppress(InteropError):
                    consumer.compile(source).close()
            for sync in _STRATEGIES:
                with contextlib.suppress(InteropError):
                    _use_once(run, sync)
            for tiling in Tiling:
                if pair.lacks_tiling(tiling) is None:
                    with contextlib.suppress(InteropError):
                        _share_an_image(run, tiling)
        yield run


def _share_an_image(run: Run, tiling: Tiling) -> None:
    """Let both drivers make and import an image, and copy its texels."""
    pair = run.pair
    with (
        pair.open_producer() as producer,
        pair.open_consumer() as consumer,
        contextlib.closing(Bench(pair, producer, consumer, run.timeout)) as bench,
    ):
        image, mapped = bench.share_image(
            ImageDescriptor(extent=(64, 48, 1), format=FORMATS["rgba8unorm"], tiling=tiling)
        )
        bench.put_image(image, [bytes(64 * 48 * 4)])
        bench.write_image(mapped, bench.read_image(mapped))
        bench.get_image(image)


def _use_once(run: Run, sync: Any) -> None:
    """Let both drivers import, wait, signal and copy."""
    with run.connect(sync=sync) as link:
        buffer = link.buffer(1024, "uint32")
        for _ in range(2):
            with link.producer_turn(buffer) as commands:
                commands.fill(buffer.producer_buffer, 1)
            with link.consumer_turn(buffer) as view:
                view.write(bytes(view.nbytes))
        link.synchronize()


@pytest.fixture
def producer(interop_run: Run, descriptor_counts: leaks.Resources) -> Iterator[Producer]:  # noqa: ARG001 - counts around it
    """The producer's device, opened for this test."""
    with interop_run.pair.open_producer() as opened:
        yield opened


@pytest.fixture
def consumer(interop_run: Run, descriptor_counts: leaks.Resources) -> Iterator[Consumer]:  # noqa: ARG001 - counts around it
    """The consumer's device, opened for this test."""
    with interop_run.pair.open_consumer() as opened:
        yield opened


@pytest.fixture
def bench(interop_run: Run, producer: Producer, consumer: Consumer) -> Iterator[Bench]:
    """Both devices, with helpers that move bytes by hand."""
    with contextlib.closing(Bench(interop_run.pair, producer, consumer, interop_run.timeout)) as opened:
        yield opened


@pytest.fixture
def link_factory(interop_run: Run, descriptor_counts: leaks.Resources) -> Iterator[LinkFactory]:  # noqa: ARG001 - counts around it
    """Make links of the pair under test."""
    with contextlib.ExitStack() as links:
        yield lambda **options: links.enter_context(interop_run.connect(**options))
