"""When the software drivers are set up, and when they keep their hands off."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from interop_softgpu import fetch_swiftshader, swiftshader
from interop_softgpu.activate import Available, plan
from interop_softgpu.machine import Machine, detect

ALL = Available(
    swiftshader=Path("/s/vk_swiftshader_icd.json"),
    lavapipe=Path("/l/lvp_icd.json"),
    vulkan_layer=Path("/v/layer.json"),
    opencl_layer=Path("/o/layer.so"),
    hip=Path("/package/rocm/lib/libamdhip64.so"),
    cache=Path("/cache"),
)
BARE = Machine(opencl_drivers=("pocl.icd",))


def test_bare_machine_gets_everything() -> None:
    report = plan(BARE, ALL, {}, choice="swiftshader", mode="auto")
    assert (report.vulkan, report.opencl, report.hip) == (True, True, True)
    assert report.environment == {
        "VK_DRIVER_FILES": "/s/vk_swiftshader_icd.json",
        "VK_ICD_FILENAMES": "/s/vk_swiftshader_icd.json",
        "OPENCL_LAYERS": "/o/layer.so",
        "POCL_CACHE_DIR": "/cache/pocl",
        "PYOPENCL_NO_CACHE": "1",
        "ROCM_PATH": "/package/rocm",
    }
    assert len(report.lines) == 3
    assert all("software" in line for line in report.lines)


@pytest.mark.parametrize(
    ("machine", "expected"),
    [
        (Machine(render_nodes=("renderD128",)), (False, False, False)),
        (Machine(render_nodes=("renderD128",), kfd=True), (False, False, False)),
        (Machine(nvidia=True), (False, False, True)),  # HIP on CUDA
        (Machine(nvidia=True, render_nodes=("renderD128",)), (False, False, True)),
        (Machine(nvidia=True, rocm="/opt/rocm/lib/libamdhip64.so"), (False, False, False)),
        (Machine(kfd=True), (True, True, False)),
        (Machine(rocm="ROCM_PATH=/opt/rocm"), (True, True, False)),
    ],
)
def test_hardware_is_left_alone(machine: Machine, expected: tuple[bool, bool, bool]) -> None:
    report = plan(machine, ALL, {}, choice="swiftshader", mode="auto")
    assert (report.vulkan, report.opencl, report.hip) == expected
    forced = plan(machine, ALL, {}, choice="swiftshader", mode="on")
    assert (forced.vulkan, forced.opencl, forced.hip) == (True, True, True)
    assert plan(machine, ALL, {}, choice="swiftshader", mode="off").environment == {}


def test_the_layer_for_sync_files_is_put_in_where_they_are_asked_for() -> None:
    asked = {"SOFTGPU_SEMAPHORE_HANDLES": "sync_fd"}
    report = plan(BARE, ALL, asked, choice="swiftshader", mode="auto")
    assert report.environment["VK_ADD_LAYER_PATH"] == "/v"
    assert report.environment["VK_INSTANCE_LAYERS"] == "VK_LAYER_SOFTGPU_sync_fd"
    assert any("sync files" in line for line in report.lines)
    others = {**asked, "VK_INSTANCE_LAYERS": "VK_LAYER_other", "VK_ADD_LAYER_PATH": "/other"}
    behind = plan(BARE, ALL, others, choice="swiftshader", mode="auto").environment
    assert behind["VK_INSTANCE_LAYERS"] == "VK_LAYER_other:VK_LAYER_SOFTGPU_sync_fd", "closest to the driver"
    assert behind["VK_ADD_LAYER_PATH"] == "/other:/v"
    done = {**asked, **report.environment}
    assert "VK_INSTANCE_LAYERS" not in plan(BARE, ALL, done, choice="swiftshader", mode="auto").environment
    for handles, choice in (("opaque_fd", "swiftshader"), ("sync_fd", "lavapipe")):
        without = plan(BARE, ALL, {"SOFTGPU_SEMAPHORE_HANDLES": handles}, choice=choice, mode="auto")  # type: ignore[arg-type]
        assert "VK_INSTANCE_LAYERS" not in without.environment
    missing = replace(ALL, vulkan_layer=None)
    assert any("not built" in line for line in plan(BARE, missing, asked, choice="both", mode="auto").lines)


def test_lavapipe_stands_in_and_says_so() -> None:
    without = Available(lavapipe=ALL.lavapipe, cache=ALL.cache)
    report = plan(BARE, without, {}, choice="swiftshader", mode="auto")
    assert report.environment["VK_DRIVER_FILES"] == "/l/lvp_icd.json"
    assert "in place of SwiftShader" in report.lines[0]
    assert not report.opencl
    nothing = plan(BARE, Available(cache=ALL.cache), {}, choice="both", mode="auto")
    assert not nothing.vulkan
    assert "fetch_swiftshader" in nothing.lines[0]


def test_both_drivers() -> None:
    report = plan(BARE, ALL, {}, choice="both", mode="auto")
    assert report.environment["VK_DRIVER_FILES"] == "/s/vk_swiftshader_icd.json:/l/lvp_icd.json"


def test_the_users_own_settings_stay() -> None:
    mine = {"VK_DRIVER_FILES": "/mine.json", "OPENCL_LAYERS": "/other.so", "POCL_CACHE_DIR": "/mine"}
    report = plan(BARE, ALL, mine, choice="swiftshader", mode="auto")
    assert "VK_DRIVER_FILES" not in report.environment
    assert "POCL_CACHE_DIR" not in report.environment
    assert report.environment["OPENCL_LAYERS"] == "/o/layer.so:/other.so"


def test_a_second_activation_changes_nothing_but_follows_a_new_choice() -> None:
    first = plan(BARE, ALL, {}, choice="swiftshader", mode="auto").environment
    assert plan(BARE, ALL, first, choice="swiftshader", mode="auto").environment == {}
    changed = plan(BARE, ALL, first, choice="lavapipe", mode="auto").environment
    assert set(changed) == {"VK_DRIVER_FILES", "VK_ICD_FILENAMES"}


def test_late_activation_is_reported() -> None:
    late = Machine(open_libraries=("libvulkan.so.1.3.239",), opencl_drivers=("pocl.icd",))
    assert "libvulkan.so.1.3.239 is already open" in str(
        plan(late, ALL, {}, choice="swiftshader", mode="auto")
    )


def test_a_machine_is_recognised_by_its_files(tmp_path: Path) -> None:
    for name in ("dev/dri/renderD129", "dev/nvidiactl", "dev/kfd", "opt/rocm/lib/libamdhip64.so"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    maps = tmp_path / "maps"
    maps.write_text("7f00-7f01 r-xp 0 0:0 1  /usr/lib/libvulkan.so.1.3\n7f00 r-xp 0 0:0 1 [heap]\n")
    found = detect({}, own_rocm=None, root=tmp_path, maps=maps)
    assert found == Machine(
        render_nodes=("renderD129",),
        nvidia=True,
        kfd=True,
        rocm=str(tmp_path / "opt/rocm/lib/libamdhip64.so"),
        open_libraries=("libvulkan.so.1.3",),
    )
    assert detect({}, own_rocm=None, root=tmp_path / "empty", maps=maps).vulkan_hardware is False


def test_own_rocm_folder_is_no_real_rocm(tmp_path: Path) -> None:
    own = tmp_path / "rocm"
    assert detect({"ROCM_PATH": str(own)}, own_rocm=own, root=tmp_path).rocm is None
    assert detect({"ROCM_PATH": "/opt/rocm"}, own_rocm=own, root=tmp_path).rocm == "ROCM_PATH=/opt/rocm"


@pytest.mark.parametrize("name", ["INTEROP_SOFTGPU", "INTEROP_SOFTGPU_VULKAN"])
def test_unknown_settings_are_errors(name: str) -> None:
    program = "from interop_softgpu.activate import activate; activate()"
    command = [sys.executable, "-c", program]
    settings = {**os.environ, name: "perhaps"}
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode == 1
    assert f"{name}='perhaps' is not known" in done.stderr


def test_importing_the_plugin_opens_no_driver() -> None:
    program = (
        "import interop_softgpu.plugin, sys\n"
        "maps = open('/proc/self/maps').read()\n"
        "sys.exit(any(name in maps for name in ('libvulkan', 'libOpenCL', 'softgpu_')))"
    )
    assert subprocess.run([sys.executable, "-c", program], timeout=30, check=False).returncode == 0


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INTEROP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("INTEROP_SWIFTSHADER", raising=False)
    return tmp_path / "cache"


def package(folder: Path, *, with_driver: bool) -> Path:
    files = folder / "package"
    (files / "DEBIAN").mkdir(parents=True)
    control = (
        "Package: chromium-common\nVersion: 1:9.8\nArchitecture: all\nMaintainer: n <n@n>\nDescription: n\n"
    )
    (files / "DEBIAN/control").write_text(control)
    if with_driver:
        (files / "usr/lib/chromium").mkdir(parents=True)
        (files / "usr/lib/chromium" / swiftshader.LIBRARY).write_bytes(b"driver" * 100_000)
    deb = folder / "chromium-common_9.8_all.deb"
    command = ["dpkg-deb", "--root-owner-group", "-Zgzip", "--build", str(files), str(deb)]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return deb


def test_swiftshader_is_taken_out_of_a_package(cache: Path, tmp_path: Path) -> None:
    manifest = fetch_swiftshader.fetch(package(tmp_path, with_driver=True))
    assert manifest == cache / "swiftshader/1_9.8" / swiftshader.MANIFEST
    assert (manifest.parent / swiftshader.LIBRARY).stat().st_size == 600_000
    assert str(manifest.parent / swiftshader.LIBRARY) in manifest.read_text()
    assert swiftshader.swiftshader() == manifest
    assert [entry.name for entry in cache.iterdir()] == ["swiftshader"], "nothing else is left in the cache"


def test_a_package_without_it_leaves_nothing(cache: Path, tmp_path: Path) -> None:
    with pytest.raises(fetch_swiftshader.FetchError, match="does not contain"):
        fetch_swiftshader.fetch(package(tmp_path, with_driver=False))
    assert list(cache.iterdir()) == []


def test_named_swiftshader_goes_first(cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "mine" / swiftshader.LIBRARY
    library.parent.mkdir()
    library.touch()
    monkeypatch.setenv("INTEROP_SWIFTSHADER", str(library))
    manifest = swiftshader.swiftshader()
    assert manifest is not None
    assert str(library) in manifest.read_text()
    assert cache in manifest.parents
