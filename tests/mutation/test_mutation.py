"""The faults fit the sources of today, all were noticed when they were last run, and some are run here."""

from __future__ import annotations

from typing import TYPE_CHECKING

import backend_faults
import mutate
import pytest

if TYPE_CHECKING:
    from pathlib import Path

SOME = {
    "numpy": "a refused handle is closed",
    "opencl": "the number that the driver has taken is closed too",
    "core": "the failure flag is not set",
    "hip": "the runtime is taken to own the descriptor",
}
NEEDS_A_GPU = 2
"""Faults about timelines, which the software drivers do not share."""


def names() -> list[str]:
    return [f"{fault.backend}: {fault.name}" for fault in backend_faults.EVERY]


@pytest.mark.parametrize("fault", backend_faults.EVERY, ids=names())
def test_the_source_still_has_what_a_fault_changes(tmp_path: Path, fault: backend_faults.Fault) -> None:
    mutate.changed(fault.backend, tmp_path, *fault.every_edit())


def test_names_are_unique() -> None:
    assert len(set(names())) == len(names())


def test_the_results_are_those_of_these_faults() -> None:
    text = mutate.RESULTS.read_text(encoding="utf-8")
    for fault in backend_faults.EVERY:
        assert f"| {fault.backend} | `{fault.module}` | {fault.name} | " in text
    assert text.count("\n| ") == len(backend_faults.EVERY) + 1
    assert "**not noticed**" not in text
    assert text.count("needs a GPU") == NEEDS_A_GPU


@pytest.mark.slow
@pytest.mark.timeout(200)
@pytest.mark.parametrize("backend", SOME)
def test_a_fault_is_noticed(backend: str) -> None:
    fault = next(
        fault for fault in backend_faults.EVERY if (fault.backend, fault.name) == (backend, SOME[backend])
    )
    result = mutate.attempt(fault)
    assert result.failed, result.output
