"""Portable kernels: signatures are read, launches are checked."""

from __future__ import annotations

import numpy as np
import pytest

from interop import ArgumentError, CompileError
from interop.toolkit import check_arguments, check_grid, parse_kernels, pick_source

SOURCE = """
// KERNEL void commented(int no) {
/* KERNEL void out(int no) { */
KERNEL void scale(GLOBAL_MEM float *data, const unsigned int n, float factor)
{
}
KERNEL void
many(GLOBAL_MEM const float* restrict a, CONSTANT_MEM int b[], uint8_t c, GLOBAL_MEM double * d) { }
KERNEL void none(void) { }
"""


def test_signatures_are_read_from_the_source() -> None:
    kernels = parse_kernels(SOURCE)
    assert list(kernels) == ["scale", "many", "none"]
    assert str(kernels["scale"]) == "scale(float *data, unsigned int n, float factor)"
    assert [p.pointer for p in kernels["many"].parameters] == [True, True, False, True]
    assert [p.name for p in kernels["many"].parameters] == ["a", "b", "c", "d"]
    assert kernels["none"].parameters == ()


def test_a_source_without_kernels_says_how_one_looks() -> None:
    with pytest.raises(ArgumentError, match="KERNEL void name"):
        parse_kernels("void f() {}")


@pytest.mark.parametrize(
    ("args", "words"),
    [
        ((1,), "takes 3 arguments, got 1"),
        ((0xDEAD, np.int32(1), np.float32(1)), "n.*needs numpy.uint32, got numpy.int32"),
        ((0xDEAD, 1, np.float32(1)), "n.*needs numpy.uint32"),
        ((0xDEAD, np.uint32(1), 1.0), r"float factor.*needs numpy.float32"),
        ((np.float32(0), np.uint32(1), np.float32(1)), r"float \*data.*needs memory"),
    ],
)
def test_a_wrong_argument_is_named(args: tuple[object, ...], words: str) -> None:
    with pytest.raises(ArgumentError, match=words):
        check_arguments(parse_kernels(SOURCE)["scale"], args)


def test_right_arguments_pass() -> None:
    check_arguments(parse_kernels(SOURCE)["scale"], (0xDEAD, np.uint32(1), np.float32(1)))


@pytest.mark.parametrize("grid", [None, (), 0, -1, (4, 0), (1, 2, 3, 4), 1.5])
def test_a_grid_that_cannot_be_is_refused(grid: object) -> None:
    with pytest.raises((ArgumentError, TypeError)):
        check_grid("k", grid, None, 256)  # type: ignore[arg-type]


def test_groups_must_fit_the_grid_and_the_device() -> None:
    assert check_grid("k", (64, 64), (16, 16), 256) == ((64, 64), (16, 16))
    assert check_grid("k", 64, None, 256) == ((64,), None)
    for group in (16, (32, 32), (0, 1)):
        with pytest.raises(ArgumentError):
            check_grid("k", (64, 64), group, 256)


def test_a_source_may_be_given_per_backend() -> None:
    text, kernels = pick_source("hip", {"hip": SOURCE, "portable": "x"}, "#define KERNEL")
    assert text.startswith('#define KERNEL\n#line 1 "kernel"\n')
    assert "scale" in kernels
    with pytest.raises(CompileError, match="no source for 'hip'"):
        pick_source("hip", {"cuda": SOURCE}, "")
