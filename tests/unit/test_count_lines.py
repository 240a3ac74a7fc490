"""The counter of lines of code, by which sizes are told."""

from __future__ import annotations

import count_lines
import pytest

SOURCE = '''"""A docstring
of two lines."""

import os  # a comment beside code counts with the code

# a comment alone
NAME = """a string
that is a value"""
"""A string that stands alone."""


def work(
    first: int,
) -> int:
    """A docstring."""
    return first
'''


def test_docstrings_comments_and_blank_lines_are_no_code() -> None:
    assert count_lines.lines_of_code(SOURCE) == 1 + 2 + 4


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("interop/__init__.py", "interop"),
        ("interop/links/rings/slots.py", "interop/links"),
        ("interop/testing/plugin.py", "interop/testing"),
        ("interop/testing/conformance/test_link.py", None),
        ("backends/interop_hip/kernels.py", "interop_hip"),
        ("plugins/cuda/src/interop_cuda/kernels.py", "interop_cuda"),
        ("plugins/cuda/tests/test_cuda.py", None),
        ("tests/unit/test_ring.py", None),
        ("interop/py.typed", None),
    ],
)
def test_files_count_for_their_room(name: str, place: str | None) -> None:
    assert count_lines.place_of(name) == place


def test_sums() -> None:
    sums = count_lines.rows({"interop/a/x.py": 3, "interop/b/y.py": 4, "backends/interop_hip/z.py": 5})
    assert (sums["interop, all rooms"], sums["interop_hip"], sums["all"]) == (7, 5, 12)
