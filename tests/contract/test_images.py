"""Shared images on the software drivers: every texel right in both directions, or a refusal that says why."""

from __future__ import annotations

import json
import shutil
import sys
from typing import TYPE_CHECKING, Any

import fresh
import image_cases
import pytest
import software
import stand_in
from image_cases import KINDS

if TYPE_CHECKING:
    from pathlib import Path

FORMATS = ("r8uint", "rgba8unorm", "r16sint", "rgba16float", "rgba32float")
EVERYTHING = [(made, kind, tiling) for made in FORMATS for kind in KINDS for tiling in ("linear", "optimal")]
ROWS = {f"{made} 2D linear" for made in FORMATS}
MAP = "hipExternalMemoryGetMappedMipmappedArray"
# SwiftShader keeps optimal images in rows of two texels and more, as the stand-in does for these.
EVEN = {
    "2D": {"extent": (128, 64, 1)},
    "2D array": {"extent": (64, 32, 1), "array_layers": 5},
    "2D mips": {"extent": (128, 64, 1), "mip_levels": 6},
}


def share(
    consumer: str, cases: list[tuple[str, str, str]], vulkan: Any = "swiftshader", **switches: str
) -> dict[str, str]:
    """Return how each case ended; none left a descriptor open."""
    environment = software.environment(vulkan, **switches)
    found = fresh.call(image_cases.share, environment, consumer=consumer, cases=cases)
    assert found["descriptors"] == 0
    return dict(found["results"])


def passed(results: dict[str, str]) -> set[str]:
    """Return the cases that passed; none may have failed."""
    assert not {name: result for name, result in results.items() if result.startswith("failed")}
    return {name for name, result in results.items() if result == "pass"}


def refusals(results: dict[str, str], ending: str) -> set[str]:
    """Return how the refused cases of a kind or tiling were refused."""
    return {
        result for name, result in results.items() if name.endswith(ending) and result.startswith("refused")
    }


@pytest.mark.parametrize("vulkan", ["swiftshader", "lavapipe"])
def test_opencl_takes_rows(vulkan: str) -> None:
    results = share("opencl", EVERYTHING, vulkan)
    assert passed(results) == ROWS
    for why in refusals(results, "optimal"):
        assert why.startswith("refused: Unsupported: not supported: images of optimal tiling")
        assert "make them linear" in why


def test_opencl_takes_optimal_images_where_the_driver_lists_none_as_linear() -> None:
    results = share("opencl", EVERYTHING, SOFTGPU_CL_QUERIES="nvidia")
    assert {f"{made} 2D optimal" for made in FORMATS} <= passed(results)
    assert not passed(results) & ROWS
    assert len(refusals(results, "2D linear")) == 1
    assert "share linear pixels as a buffer" in refusals(results, "2D linear").pop()
    assert all("Unsupported" in why for why in refusals(results, "optimal"))


def test_a_format_that_the_device_lacks_is_refused_by_name() -> None:
    (why,) = share("opencl", [("rg8unorm", "2D", "linear")]).values()
    if why == "pass":  # PoCL 3.1 has no such format, later ones do
        return
    assert why.startswith("refused: Unsupported")
    assert "rg8unorm" in why
    assert "clGetSupportedImageFormats" in why


@pytest.mark.parametrize("mode", [{}, {"SOFTGPU_HIP_MODE": "amd"}], ids=["hip", "as amd"])
def test_hip_takes_rows_and_says_that_it_maps_no_arrays(mode: dict[str, str]) -> None:
    results = share("hip", EVERYTHING, **mode)
    assert passed(results) == ROWS
    assert all(why.startswith("refused: Unsupported") for why in refusals(results, "optimal"))


def test_rows_are_whole_where_the_driver_compresses_shared_memory() -> None:
    """As NVIDIA's does: by an allocation of its own a linear image says that it must not."""
    results = share("hip", EVERYTHING, SOFTGPU_HIP_COMPRESS="1")
    assert passed(results) == ROWS


def test_hip_without_the_call_refuses_optimal_images(tmp_path: Path) -> None:
    """As AMD's runtimes on Linux that do not export it."""
    own = software.available().hip
    assert own is not None
    shutil.copytree(own.parent.parent, tmp_path / "rocm")
    library = tmp_path / "rocm/lib" / own.name
    content = library.read_bytes()
    name, other = f"\0{MAP}\0".encode(), f"\0{MAP[:-1]}_\0".encode()
    assert name in content
    library.write_bytes(content.replace(name, other))
    results = share("hip", EVERYTHING, ROCM_PATH=str(tmp_path / "rocm"))
    assert passed(results) == ROWS
    for why in refusals(results, "optimal"):
        assert why.startswith("refused: Unsupported")
        assert MAP in why
        assert "does not export" in why


@pytest.mark.parametrize(
    ("consumer", "tiling", "switches"),
    [
        ("opencl", "linear", {}),
        ("opencl", "optimal", {"SOFTGPU_CL_QUERIES": "nvidia", "SOFTGPU_CL_ERRORS": "nvidia"}),
        ("hip", "linear", {}),
        ("hip", "optimal", {"SOFTGPU_HIP_FD": "consume-always"}),
    ],
)
def test_files_of_strangers_stay_theirs(consumer: str, tiling: str, switches: dict[str, str]) -> None:
    environment = software.environment("swiftshader", **switches)
    found = fresh.call(image_cases.strangers_files, environment, consumer=consumer, tiling=tiling)
    assert found
    for error, stayed, grown in found.values():
        assert error in {"HandleError", "DriverError"}, found
        assert stayed, found
        assert grown == 0, found


@pytest.fixture(scope="module")
def hip_on_cuda(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The HIP runtime over the stand-in for NVIDIA's driver."""
    folder = stand_in.build(tmp_path_factory.mktemp("driver"))
    return software.environment(LD_LIBRARY_PATH=stand_in.search(folder), SOFTGPU_HIP_DEVICE="cuda")


def test_hip_on_cuda_takes_every_kind(hip_on_cuda: dict[str, str]) -> None:
    found = fresh.call(
        image_cases.share_over_stand_in, hip_on_cuda, consumer="hip", kinds=EVEN, formats=FORMATS
    )
    optimal = {f"{made} {kind} optimal" for made in FORMATS for kind in EVEN}
    assert passed(found["results"]) == optimal | ROWS
    assert found["offer"] == "yes, optimal and linear"
    assert (found["descriptors"], found["live"]) == (0, 0)


def test_hip_on_cuda_passes_the_kit(hip_on_cuda: dict[str, str], tmp_path: Path) -> None:
    """Both tilings; elsewhere the rig has one."""
    command = [sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "-p", "no:cacheprovider"]
    command += ["--pyargs", "interop.testing.conformance.test_images", "--interop-backend=hip"]
    command += ["--interop-device=0", "--interop-consumer-device=0"]
    done = fresh.run([*command, f"--interop-matrix={tmp_path / 'matrix.json'}"], hip_on_cuda, cwd=tmp_path)
    assert done.status == 0, done.output
    score = json.loads((tmp_path / "matrix.json").read_text(encoding="utf-8"))["score"]
    assert score["passed"] == score["applicable"] == 22


@pytest.mark.parametrize("code", [1, 2, 801, 999])
def test_hip_on_cuda_gives_back_what_is_not_mapped(hip_on_cuda: dict[str, str], code: int) -> None:
    found = fresh.call(
        image_cases.share_over_stand_in,
        {**hip_on_cuda, "FAKE_CUDA_MAP_ARRAY": str(code)},
        consumer="hip",
        kinds=EVEN,
        formats=FORMATS[:1],
    )
    assert passed(found["results"]) == {f"{FORMATS[0]} 2D linear"}
    kind = "DriverError" if code == 2 else "Unsupported"
    assert all(why.startswith(f"refused: {kind}: ") for why in refusals(found["results"], "optimal"))
    assert (found["descriptors"], found["live"]) == (0, 0)
