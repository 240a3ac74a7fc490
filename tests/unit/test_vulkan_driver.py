"""The private binding: structures, results, and what happens where something is missing. Needs no driver."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from bisect import insort
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from interop_vulkan import _driver, _recording, plugin

from interop.protocols import DriverError, Role

if TYPE_CHECKING:
    from pathlib import Path


def run(code: str, **environment: str) -> str:
    """Run Python code in a process of its own and return what it printed."""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


LOAD = """
from interop.protocols import BackendUnavailable
from interop_vulkan import plugin
[info] = plugin.interop_register_backends()
try:
    print(info.load().devices())
except BackendUnavailable as error:
    assert error.backend == "vulkan" and error.install_hint, vars(error)
    print(error.reason)
"""


def test_the_plugin_declares_a_producer_and_imports_no_binding() -> None:
    [info] = plugin.interop_register_backends()
    assert (info.name, info.roles) == ("vulkan", frozenset({Role.PRODUCER}))
    assert info.install_hint
    assert run("import sys, interop_vulkan.plugin; print('vulkan' in sys.modules)") == "False"


def test_without_the_package() -> None:
    assert "package cannot be imported" in run("import sys; sys.modules['vulkan'] = None" + LOAD)


def test_without_a_loader(tmp_path: Path) -> None:
    (tmp_path / "vulkan").mkdir()
    (tmp_path / "vulkan/__init__.py").touch()
    code = "class ffi:\n def dlopen(name): raise OSError(name)\n"
    (tmp_path / "vulkan/_vulkancache.py").write_text(code)
    assert "no Vulkan loader" in run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + LOAD)


def test_where_the_declarations_are_not_found_by_themselves_the_package_is_imported(tmp_path: Path) -> None:
    (tmp_path / "vulkan").mkdir()
    code = "import sys, types; made = types.ModuleType('vulkan._vulkancache'); sys.modules[made.__name__] = made\n"
    (tmp_path / "vulkan/__init__.py").write_text(code + "raise OSError('Cannot find Vulkan SDK version')")
    assert "no Vulkan loader" in run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + LOAD)


def test_without_the_declarations(tmp_path: Path) -> None:
    (tmp_path / "vulkan.py").touch()
    reason = run(f"import sys; sys.path.insert(0, {str(tmp_path)!r})" + LOAD)
    assert reason.startswith("the vulkan package cannot be imported (No module named 'vulkan._vulkancache'")


SAME = """
import importlib, pathlib, pkgutil, re, sys
import interop_vulkan
first = sys.argv[1:] == ["package first"]
if first:
    import vulkan
for module in pkgutil.iter_modules(interop_vulkan.__path__):
    importlib.import_module(f"interop_vulkan.{module.name}")
assert first == ("vulkan._vulkan" in sys.modules), "the wrappers are not ours to import"
import vulkan
from interop_vulkan._driver import VK, ffi
assert ffi is vulkan.ffi
assert vulkan.vkEnumerateInstanceVersion() > 0
text = "".join(each.read_text() for each in pathlib.Path(*interop_vulkan.__path__).glob("*.py"))
used = set(re.findall(r"\\bVK\\.(VK_[A-Z0-9_]+)", text))
assert {name: getattr(vulkan, name) for name in used} == {name: getattr(VK, name) for name in used}
print(len(used) > 50)
"""


@pytest.mark.parametrize("order", ["package first", "package later"])
def test_the_declarations_are_those_of_whoever_uses_the_package(order: str) -> None:
    assert run(f"import sys; sys.argv[1:] = [{order!r}]" + SAME) == "True"


def test_without_a_driver() -> None:
    missing = "/nonexistent/icd.json"
    reason = run(LOAD, VK_ICD_FILENAMES=missing, VK_DRIVER_FILES=missing, VK_ADD_DRIVER_FILES="")
    assert reason == "no Vulkan driver on this machine"


@pytest.mark.parametrize(
    ("code", "name"),
    [
        (-1, "VK_ERROR_OUT_OF_HOST_MEMORY"),
        (-4, "VK_ERROR_DEVICE_LOST"),
        (-1000072003, "VK_ERROR_INVALID_EXTERNAL_HANDLE"),
        (-1000069000, "VK_ERROR_OUT_OF_POOL_MEMORY"),
        (-123456, "unknown VkResult"),
    ],
)
def test_failures_keep_function_code_and_name(code: int, name: str) -> None:
    with pytest.raises(DriverError) as caught:
        _driver.check("vkSomething", code)
    assert (caught.value.function, caught.value.code, caught.value.name) == ("vkSomething", code, name)


@pytest.mark.parametrize("code", [0, 1, 2, 5, 1000001003])
def test_status_codes_are_no_failures(code: int) -> None:
    _driver.check("vkSomething", code)


@pytest.mark.parametrize(
    ("structure", "constant"),
    [
        ("VkSubmitInfo", "SUBMIT_INFO"),
        ("VkMemoryRequirements2", "MEMORY_REQUIREMENTS_2"),
        ("VkPhysicalDeviceIDProperties", "PHYSICAL_DEVICE_ID_PROPERTIES"),
        ("VkPhysicalDevicePCIBusInfoPropertiesEXT", "PHYSICAL_DEVICE_PCI_BUS_INFO_PROPERTIES_EXT"),
        ("VkPhysicalDeviceVulkan12Features", "PHYSICAL_DEVICE_VULKAN_1_2_FEATURES"),
        ("VkMemoryGetFdInfoKHR", "MEMORY_GET_FD_INFO_KHR"),
        ("VkMemoryGetWin32HandleInfoKHR", "MEMORY_GET_WIN32_HANDLE_INFO_KHR"),
        ("VkSemaphoreGetWin32HandleInfoKHR", "SEMAPHORE_GET_WIN32_HANDLE_INFO_KHR"),
    ],
)
def test_structure_types_are_derived_from_names(structure: str, constant: str) -> None:
    assert _driver.struct(structure).sType == getattr(_driver.VK, f"VK_STRUCTURE_TYPE_{constant}")


def test_what_a_structure_points_to_lives_as_long_as_it() -> None:
    kept = [
        _driver.struct(
            "VkInstanceCreateInfo",
            pApplicationInfo=_driver.struct("VkApplicationInfo", pApplicationName=f"name {i}".encode()),
            enabledExtensionCount=1,
            ppEnabledExtensionNames=[f"extension {i}".encode()],
        )
        for i in range(200)
    ]
    gc.collect()
    for i, each in enumerate(kept):
        assert _driver.ffi.string(each.pApplicationInfo.pApplicationName) == f"name {i}".encode()
        assert _driver.ffi.string(each.ppEnabledExtensionNames[0]) == f"extension {i}".encode()


def test_no_python_code_runs_when_a_structure_goes() -> None:
    """Ctrl-C that arrives in such code is lost: nobody called it."""
    made = _driver.struct("VkApplicationInfo", pApplicationName=b"name")
    calls: list[str] = []
    sys.setprofile(lambda frame, event, _: calls.append(frame.f_code.co_name) if event == "call" else None)
    try:
        del made
    finally:
        sys.setprofile(None)
    assert calls == []


def test_nested_structures_keep_their_strings() -> None:
    stage = _driver.struct("VkPipelineShaderStageCreateInfo", pName=b"main")
    info = _driver.struct("VkComputePipelineCreateInfo", stage=stage)
    del stage
    gc.collect()
    assert _driver.ffi.string(info.stage.pName) == b"main"


def test_a_function_that_the_loader_lacks_is_a_driver_error() -> None:
    functions = _driver.instance_functions(_driver.NULL)
    with pytest.raises(DriverError, match="vkNoSuchThing") as caught:
        _ = functions.vkNoSuchThing
    assert caught.value.name == "VK_ERROR_EXTENSION_NOT_PRESENT"
    with pytest.raises(AttributeError):
        _ = functions.something_else


spans = st.tuples(st.integers(0, 60), st.integers(1, 12)).map(lambda each: (each[0], each[0] + each[1]))


@given(st.lists(spans, max_size=30))
def test_bytes_that_were_touched_before_are_found(touched: list[tuple[int, int]]) -> None:
    apart: list[tuple[int, int]] = []  # as a recording keeps them: in order, none over another
    for span in touched:
        known = any(span[0] < end and start < span[1] for start, end in apart)
        assert _recording._meets(span, apart) is known
        if not known:
            insort(apart, span)
