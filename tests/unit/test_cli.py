"""The command line: what it prints, and the exit status that scripts rely on. No driver is opened."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import click
import pytest

import interop
from interop import registry
from interop.cli import _app as cli
from interop.cli import compare as comparing
from interop.cli.compare.measure import CompareSettings, Result
from interop.protocols import DriverError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

RIGHT = Result(consumer="opencl", available=True, frames=5, verified_frames=5, device="some device")
WRONG = Result(consumer="opencl", available=True, frames=5, verified_frames=4, device="some device")
BROKEN = Result(consumer="opencl", available=True, frames=5, verified_frames=5, reason="WaitTimeout: 10 s")
ABSENT = Result(consumer="opencl", reason="no OpenCL here")


@pytest.fixture(autouse=True)
def no_drivers(monkeypatch: pytest.MonkeyPatch) -> None:
    """Software drivers are not to be activated for the whole test session by a command."""
    monkeypatch.setattr(registry.Registry, "prepare_environment", lambda _: ("prepared",))


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[CompareSettings]]:
    """Have the measurement give results that are known; returns what it was asked to do."""

    def give(*results: Result) -> list[CompareSettings]:
        asked: list[CompareSettings] = []
        left = {result.consumer: result for result in results}

        def compare_consumer(
            consumer: str, settings: CompareSettings, advance: Callable[[str, int], None]
        ) -> Result:
            asked.append(settings)
            advance("verify", settings.frames)
            return left.get(consumer, Result(consumer=consumer, reason="not here"))

        monkeypatch.setattr(comparing, "compare_consumer", compare_consumer)
        return asked

    return give


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Run a command line; returns its status and all that it printed."""
    monkeypatch.setattr(cli._out, "_width", 200)

    def run(*arguments: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = capsys.readouterr()
        status = ended.value.code
        return (status if isinstance(status, int) else 1), said.out + said.err

    return run


@pytest.mark.parametrize(
    ("result", "status"),
    [(RIGHT, 0), (WRONG, 1), (BROKEN, 1), (ABSENT, 1)],
    ids=["right", "wrong", "broken", "absent"],
)
def test_status_of_compare(
    measured: Callable[..., list[CompareSettings]],
    result: Result,
    status: int,
    call: Callable[..., tuple[int, str]],
) -> None:
    measured(result)
    assert call("compare", "--consumers=opencl")[0] == status


def test_one_that_is_absent_does_not_fail_the_others(
    measured: Callable[..., list[CompareSettings]], call: Callable[..., tuple[int, str]]
) -> None:
    measured(RIGHT)
    status, _ = call("compare", "--consumers=opencl,hip")
    assert status == 0


def test_one_that_is_wrong_fails_all(
    measured: Callable[..., list[CompareSettings]], call: Callable[..., tuple[int, str]]
) -> None:
    measured(RIGHT, Result(consumer="hip", available=True, frames=5, verified_frames=0))
    assert call("compare", "--consumers=opencl,hip")[0] == 1


def test_options_reach_the_measurement(
    measured: Callable[..., list[CompareSettings]], tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    asked = measured(RIGHT)
    file = tmp_path / "out.json"
    options = ["--frames=7", "--grid=16", "--sync=bridged", "--path=zero-copy", "--timeout=2.5"]
    status, _ = call("compare", "--consumers=opencl", *options, f"--json={file}")
    assert status == 0
    (settings,) = asked
    assert (settings.frames, settings.grid, settings.sync) == (7, 16, "bridged")
    assert (settings.path, settings.timeout, settings.producer) == ("zero-copy", 2.5, "vulkan")
    assert json.loads(file.read_text(encoding="utf-8"))["results"][0]["consumer"] == "opencl"


def test_every_consumer_by_default(
    measured: Callable[..., list[CompareSettings]], tmp_path: Path, call: Callable[..., tuple[int, str]]
) -> None:
    asked = measured(RIGHT)
    file = tmp_path / "out.json"
    call("compare", f"--json={file}")
    names = [result["consumer"] for result in json.loads(file.read_text(encoding="utf-8"))["results"]]
    assert names[:2] == ["opencl", "hip"]
    assert len(asked) == len(names)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("compare", "--consumers=opengl"), "opengl"),
        (("compare", "--consumers=vulkan"), "vulkan"),
        (("compare", "--frames=0"), "--frames"),
        (("compare", "--grid=1"), "--grid"),
        (("compare", "--timeout=0"), "--timeout"),
        (("compare", "--nonsense"), "--nonsense"),
        (("nonsense",), "nonsense"),
        (("compare", "--sync=natve"), "'native'"),
        (("compare", "--path=zerocopy"), "'zero-copy'"),
        (("compare", "--handle-type=fd"), "'opaque_fd'"),
        (("compare", "--producer=hip"), "choose from vulkan"),
        (("compare", "--json=/nowhere/out.json"), "/nowhere does not exist"),
        (("doctor", "--consumers=opncl"), "choose from opencl, hip"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, tuple) else "",
)
def test_wrong_use(
    measured: Callable[..., list[CompareSettings]],
    arguments: tuple[str, ...],
    words: str,
    call: Callable[..., tuple[int, str]],
) -> None:
    asked = measured(RIGHT)
    status, output = call(*arguments)
    assert status == 2
    assert words in output
    assert len(output.splitlines()) == 1
    assert asked == []


@pytest.mark.parametrize("arguments", [(), ("-h",), ("--help",), ("compare", "-h")], ids=" ".join)
def test_help(call: Callable[..., tuple[int, str]], arguments: tuple[str, ...]) -> None:
    status, output = call(*arguments)
    assert status == 0
    assert output.startswith("Usage: interop")


def test_version(call: Callable[..., tuple[int, str]]) -> None:
    assert call("--version") == (0, f"interop {interop.__version__}\n")


def test_json_on_standard_output_is_all_of_it(
    measured: Callable[..., list[CompareSettings]], capsys: pytest.CaptureFixture[str]
) -> None:
    measured(RIGHT)
    with pytest.raises(SystemExit):
        cli.main(["compare", "--consumers=opencl", "--json=-"])
    assert json.loads(capsys.readouterr().out)["results"][0]["consumer"] == "opencl"


def test_choices_complete_in_a_shell() -> None:
    [option] = [each for each in cli.app.commands["compare"].params if each.name == "consumers"]
    context = click.Context(cli.app.commands["compare"])
    assert [item.value for item in option.shell_complete(context, "opencl,hi")] == ["opencl,hip"]


def test_backends_are_listed_with_their_roles(call: Callable[..., tuple[int, str]]) -> None:
    status, output = call("backends")
    assert status == 0
    for name in ("vulkan", "opencl", "hip"):
        (line,) = (line for line in output.splitlines() if name in line.split())
        assert ("producer" in line) == (name == "vulkan")


def test_an_error_on_purpose_is_a_sentence_and_not_a_traceback(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail() -> None:
        raise DriverError("vkCreateDevice", -4, "VK_ERROR_DEVICE_LOST")

    monkeypatch.setattr(registry, "backends", fail)
    with pytest.raises(SystemExit) as caught:
        cli.main(["backends"])
    assert caught.value.code == 1
    said = capsys.readouterr().err
    assert "DriverError: vkCreateDevice returned -4 VK_ERROR_DEVICE_LOST" in said
    assert "Traceback" not in said
