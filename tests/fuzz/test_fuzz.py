"""The decoder of another process's messages, on random inputs."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import sys
from random import Random
from typing import TYPE_CHECKING

import decoder
import fresh
import hostile
import pytest
import software
from hypothesis import given
from hypothesis import strategies as st

from interop.ipc import _wire as wire

if TYPE_CHECKING:
    from pathlib import Path

JSON_KINDS = [kind for kind in hostile.BODIES if kind is not wire.Kind.TURN]
RIGHT = "    if nbytes > descriptor.size:"
"""A check of the decoder that a fuzzer must miss when it is taken out."""


@pytest.mark.parametrize("kind", hostile.BODIES)
def test_the_messages_that_fuzzing_starts_from_are_good(kind: wire.Kind) -> None:
    assert hostile.take(hostile.datagram(kind, hostile.BODIES[kind]), 0)


@given(st.sampled_from(JSON_KINDS), st.integers(0, 2**32), st.integers(1, 6))
def test_a_good_message_with_parts_changed_is_read_or_refused(
    kind: wire.Kind, seed: int, changes: int
) -> None:
    value = json.loads(hostile.BODIES[kind])
    choose = Random(seed)  # noqa: S311 - mutations, not secrets
    for _ in range(changes):
        decoder.change(value, choose, hostile.words())
    body = json.dumps(value).encode()
    if len(body) <= wire.MAX_BODY:
        hostile.take(hostile.datagram(kind, body), 0)


@given(st.sampled_from(list(wire.Kind)), st.binary(max_size=400), st.integers(0, 2))
def test_any_body_under_a_good_header_is_read_or_refused(kind: wire.Kind, body: bytes, fds: int) -> None:
    hostile.take(hostile.datagram(kind, body, fds), fds)


def _fuzz(root: Path, findings: Path, seconds: int) -> fresh.Finished:
    command = [sys.executable, str(root / "tests/fuzz/decoder.py"), "--seconds", str(seconds), "--seed", "1"]
    path = os.pathsep.join([str(root), str(root / "tests/support"), *(entry for entry in sys.path if entry)])
    return fresh.run(
        [*command, "--findings", str(findings)], {"PYTHONPATH": path}, timeout=seconds + 60, cwd=findings
    )


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed")
def test_a_short_run_of_the_fuzzer_finds_nothing_and_would_find_a_fault(tmp_path: Path) -> None:
    done = _fuzz(software.ROOT, tmp_path, 5)
    assert done.status == 0, done.output
    assert not list(tmp_path.iterdir())
    wrong = tmp_path / "wrong"
    for part in ("interop", "tests/support", "tests/fuzz"):
        shutil.copytree(software.ROOT / part, wrong / part, ignore=shutil.ignore_patterns("__pycache__"))
    source = wrong / "interop/ipc/_messages.py"
    text = source.read_text(encoding="utf-8")
    assert text.count(RIGHT) == 1
    source.write_text(text.replace(RIGHT, "    if False:"), encoding="utf-8")
    done = _fuzz(wrong, tmp_path, 30)
    assert done.status == 1, done.output
    assert "AssertionError" in done.output
    assert list(tmp_path.glob("crash-*"))
