"""Every error keeps its class, text and attributes when it is pickled, copied or raised in a process pool."""

from __future__ import annotations

import copy
import inspect
import pickle
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop import DriverError, InteropError, Unsupported, WaitTimeout
from interop.ipc import PeerLost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def tree(root: type[InteropError]) -> Iterator[type[InteropError]]:
    yield root
    for kind in root.__subclasses__():
        yield from tree(kind)


KINDS = sorted({kind for kind in tree(InteropError) if kind.__module__.startswith("interop.")}, key=str)

VALUES = {
    "str": st.text(),
    "int": st.integers(),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "Iterable[str]": st.lists(st.text()),
    "Sequence[str]": st.lists(st.text()),
}


@st.composite
def errors(draw: st.DrawFn, kind: type[InteropError]) -> InteropError:
    """Draw the arguments of a constructor by its annotations; an error without one takes its text."""
    if "__init__" not in {name for each in kind.__mro__ if each in KINDS for name in vars(each)}:
        return kind(draw(st.text()))
    args: list[object] = []
    options: dict[str, object] = {}
    for parameter in inspect.signature(kind).parameters.values():
        value = draw(VALUES[str(parameter.annotation)])
        if parameter.kind is parameter.KEYWORD_ONLY:
            options[parameter.name] = value
        else:
            args.append(value)
    return kind(*args, **options)


def pickled(protocol: int) -> Callable[[InteropError], InteropError]:
    return lambda error: pickle.loads(pickle.dumps(error, protocol))  # noqa: S301 - made a line before


WAYS: tuple[Callable[[InteropError], InteropError], ...] = (
    copy.copy,
    copy.deepcopy,
    *(pickled(protocol) for protocol in range(pickle.HIGHEST_PROTOCOL + 1)),
)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
@settings(max_examples=20)
@given(st.data())
def test_an_error_travels_whole(kind: type[InteropError], data: st.DataObject) -> None:
    error = data.draw(errors(kind))
    error.add_note("a note")
    for way in WAYS:
        other = way(error)
        assert other is not error
        assert type(other) is kind
        assert str(other) == str(error)
        assert other.args == error.args
        assert vars(other) == vars(error)


def test_the_tree_was_found() -> None:
    assert {DriverError, Unsupported, WaitTimeout, PeerLost} <= set(KINDS)


POOL = """
import multiprocessing
import interop

def work(number):
    raise interop.DriverError("hipMalloc", number, "hipErrorOutOfMemory", "out of memory", hint="free some")

if __name__ == "__main__":
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        try:
            pool.map_async(work, [2]).get(60)
        except interop.DriverError as error:
            print(error.function, error.code, error.name, error.text, error.hint, error, sep="|")
"""


def test_an_error_leaves_a_process_pool(tmp_path: Path) -> None:
    script = tmp_path / "pool.py"
    script.write_text(POOL, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, timeout=90, check=True
    )
    assert done.stdout.strip() == (
        "hipMalloc|2|hipErrorOutOfMemory|out of memory|free some"
        "|hipMalloc returned 2 hipErrorOutOfMemory (out of memory); free some"
    )
