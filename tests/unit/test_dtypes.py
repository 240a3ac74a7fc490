"""Element types are found by every name that users have for them; shapes are checked before a driver sees them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interop import DType, InvalidArgument
from interop.protocols import DTYPES, as_dtype, check_shape

F32 = DTYPES["float32"]


@pytest.mark.parametrize("name", DTYPES)
def test_numpy_and_its_names_mean_the_same_type(name: str) -> None:
    expected, numpy = DTYPES[name], np.dtype(name)
    short = f"{numpy.kind}{numpy.itemsize}"
    for given_type in (expected, name, numpy, numpy.type, numpy.str, short, f"={short}"):
        assert as_dtype(given_type) is expected
    assert (expected.itemsize, expected.kind, expected.typestr) == (numpy.itemsize, numpy.kind, numpy.str)


@pytest.mark.parametrize("number", [np.longlong, np.ulonglong, np.intc, np.uintc, np.bool_])
def test_c_types_of_numpy_are_known(number: type[np.generic]) -> None:
    assert as_dtype(number).typestr == np.dtype(number).str


class TorchType:
    """Writes itself as PyTorch's dtypes do, which have no name."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return f"torch.{self._name}"


class NamedType:
    """Has a name, as dtypes of TensorFlow and ml_dtypes."""

    def __init__(self, name: str) -> None:
        self.name = name


@pytest.mark.parametrize("kind", [TorchType, NamedType])
def test_types_of_other_libraries_are_known_by_their_names(kind: type[TorchType | NamedType]) -> None:
    assert as_dtype(kind("float32")) is F32
    with pytest.raises(InvalidArgument, match=r"dtype .* is unknown; use one of: bool, int8"):
        as_dtype(kind("bfloat16"))


@pytest.mark.parametrize(
    "bad",
    ["f3", ">f4", "float", "", "O", "U4", np.dtype(">f4"), np.dtype("O"), np.dtype("M8[s]"), float, None, 4],
)
def test_another_type_is_refused_by_its_own_name(bad: object) -> None:
    with pytest.raises(InvalidArgument) as caught:
        as_dtype(bad)
    assert repr(bad) in str(caught.value)


@given(st.text())
def test_no_text_is_taken_for_a_type_by_luck(text: str) -> None:
    try:
        found = as_dtype(text)
    except InvalidArgument:
        return
    assert np.dtype(text) == np.dtype(found.name)


@given(st.lists(st.integers(-2, 2**40), max_size=5), st.sampled_from(sorted(DTYPES)))
def test_a_shape_is_taken_if_its_bytes_can_be_counted(shape: list[int], name: str) -> None:
    dtype = DTYPES[name]
    nbytes = dtype.itemsize
    for length in shape:
        nbytes *= length
    fits = bool(shape) and all(length > 0 for length in shape) and nbytes < 2**63
    try:
        found = check_shape(shape, dtype)
    except InvalidArgument:
        assert not fits
    else:
        assert fits
        assert found == (tuple(shape), nbytes)


@given(st.sampled_from([np.int8, np.uint16, np.int64, np.uint64]))
def test_integers_of_numpy_are_lengths(kind: type[np.integer]) -> None:
    found, nbytes = check_shape((kind(100), kind(127)), F32)
    assert (found, nbytes) == ((100, 127), 50800)
    assert [type(length) for length in found] == [int, int]
    assert check_shape(kind(100), F32) == ((100,), 400)
    assert check_shape(np.array([3, 4]), F32) == ((3, 4), 48)


@pytest.mark.parametrize("bad", [1.0, (2, 2.0), "22", True, None, (2, None), object()])
def test_lengths_that_are_no_integers_are_refused(bad: object) -> None:
    with pytest.raises(InvalidArgument, match="every dimension of shape must be an integer"):
        check_shape(bad, F32)  # type: ignore[arg-type]


def test_a_type_prints_as_its_name() -> None:
    assert str(DType("float32", 4, "f", "f")) == "float32"
