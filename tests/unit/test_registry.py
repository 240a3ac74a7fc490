"""The registry lists backends without opening them, and survives broken plugins."""

from __future__ import annotations

import importlib.metadata
import sys
import types
from typing import TYPE_CHECKING, Any

import pytest

from interop import BackendUnavailable, UnknownBackend
from interop.protocols import BackendInfo, RegistryError, Role, hookimpl
from interop.registry import Registry
from interop.testing import leaks

if TYPE_CHECKING:
    from collections.abc import Callable


class Thing:
    """A backend of no role."""

    name = "thing"

    def versions(self) -> dict[str, str]:
        return {}

    def devices(self) -> list[object]:
        return []


def info(name: str, load: Callable[[], object] = Thing, **changes: object) -> BackendInfo:
    return BackendInfo(name=name, roles=frozenset({Role.CONSUMER}), load=load, **changes)  # type: ignore[arg-type]


def plugin(*infos: object, **hooks: Callable[..., object]) -> types.ModuleType:
    module = types.ModuleType("some_plugin")

    @hookimpl
    def interop_register_backends() -> list[object]:
        return list(infos)

    module.interop_register_backends = interop_register_backends  # type: ignore[attr-defined]
    for name, hook in hooks.items():
        setattr(module, name, hookimpl(hook))
    return module


@pytest.fixture
def entry(monkeypatch: pytest.MonkeyPatch) -> Callable[..., importlib.metadata.EntryPoint]:
    def make(name: str, module: types.ModuleType) -> importlib.metadata.EntryPoint:
        monkeypatch.setitem(sys.modules, f"plugin_{name}", module)
        return importlib.metadata.EntryPoint(name, f"plugin_{name}", "interop")

    return make


def test_backends_are_listed_and_loaded_once(entry: Callable[..., importlib.metadata.EntryPoint]) -> None:
    loads: list[int] = []

    def load() -> Thing:
        loads.append(1)
        return Thing()

    registry = Registry([entry("good", plugin(info("thing", load)))])
    assert list(registry.backends(Role.CONSUMER)) == ["thing"]
    assert not registry.backends(Role.PRODUCER)
    assert not loads
    assert registry.load_backend("thing") is registry.load_backend("thing")
    assert loads == [1]


def test_a_broken_plugin_leaves_the_others_working(
    entry: Callable[..., importlib.metadata.EntryPoint],
) -> None:
    missing = importlib.metadata.EntryPoint("absent", "there_is_no_such_module", "interop")

    def crash() -> list[object]:
        raise ZeroDivisionError

    broken = plugin()
    broken.interop_register_backends = hookimpl(crash)  # type: ignore[attr-defined]
    registry = Registry(
        [
            missing,
            entry("broken", broken),
            entry("misspelt", plugin(info("x"), interop_regster_backends=lambda: None)),
            entry("wrong", plugin("not a backend")),
            entry("old", plugin(info("old", api_version=0))),
            entry("good", plugin(info("thing"))),
        ]
    )
    assert list(registry.backends()) == ["thing"]
    reasons = {failure.plugin: failure.reason for failure in registry.failures}
    assert set(reasons) == {"absent", "broken", "misspelt", "wrong", "old"}
    assert "there_is_no_such_module" in reasons["absent"]
    assert "interop_regster_backends" in reasons["misspelt"]
    assert "version 0" in reasons["old"]


def test_a_name_that_two_plugins_claim_is_an_error_for_that_name_alone(
    entry: Callable[..., importlib.metadata.EntryPoint],
) -> None:
    registry = Registry(
        [
            entry("a", plugin(info("twice"))),
            entry("b", plugin(info("twice"))),
            entry("c", plugin(info("once"))),
        ]
    )
    registry.load_backend("once")
    with pytest.raises(RegistryError, match="registered by both"):
        registry.load_backend("twice")


def test_an_unknown_name_lists_those_that_exist(entry: Callable[..., importlib.metadata.EntryPoint]) -> None:
    registry = Registry([entry("good", plugin(info("thing")))])
    with pytest.raises(UnknownBackend, match="registered: thing"):
        registry.load_backend("thang", Role.CONSUMER)
    with pytest.raises(UnknownBackend, match="a producer of this name; registered: none"):
        registry.load_backend("thing", Role.PRODUCER)


@pytest.mark.parametrize("error", [ImportError("no module"), OSError("libx.so"), ValueError("odd")])
def test_a_backend_that_cannot_be_loaded_says_what_to_install(
    error: Exception, entry: Callable[..., importlib.metadata.EntryPoint]
) -> None:
    def load() -> object:
        raise error

    registry = Registry([entry("good", plugin(info("thing", load, install_hint="pip install it")))])
    with pytest.raises(BackendUnavailable, match="to fix: pip install it") as caught:
        registry.load_backend("thing")
    assert caught.value.__cause__ is error


def test_the_environment_is_prepared_once_before_the_first_load(
    entry: Callable[..., importlib.metadata.EntryPoint],
) -> None:
    order: list[str] = []

    def prepare() -> list[str]:
        order.append("prepared")
        return ["software drivers on"]

    def load() -> Thing:
        order.append("loaded")
        return Thing()

    registry = Registry([entry("a", plugin(info("thing", load), interop_prepare_environment=prepare))])
    registry.load_backend("thing")
    assert registry.prepare_environment() == ("software drivers on",)
    assert order == ["prepared", "loaded"]


def test_a_hook_that_raises_is_recorded_and_skipped(
    entry: Callable[..., importlib.metadata.EntryPoint],
) -> None:
    def prepare() -> list[str]:
        raise ZeroDivisionError

    registry = Registry(
        [
            entry("bad", plugin(interop_prepare_environment=prepare)),
            entry("good", plugin(interop_prepare_environment=lambda: ["done"])),
        ]
    )
    assert registry.prepare_environment() == ("done",)
    assert [failure.plugin for failure in registry.failures] == ["bad"]


class Counting:
    """A plugin whose driver has one object more each time it is asked."""

    def __init__(self) -> None:
        self.alive = 0

    @hookimpl
    def interop_live_objects(self, backend: str) -> Any:
        if backend != "mine":
            return None
        return self.count

    def count(self) -> dict[str, int]:
        return {"event": self.alive, "stream": 2}


def test_objects_of_a_driver_are_counted_where_a_plugin_does() -> None:
    plugin, registry = Counting(), Registry([])
    registry.register(plugin, "counting")
    assert registry.live_objects("other") == []
    counters = registry.live_objects("mine")
    before = leaks.snapshot(counters)
    assert before.objects == {"event": 0, "stream": 2}
    assert leaks.leaked_since(before, counters=counters) == []
    plugin.alive = 3
    assert leaks.leaked_since(before, settle=0.0, counters=counters) == [
        "3 of the driver's objects of kind event"
    ]
