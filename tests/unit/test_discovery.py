"""Entry points found by looking before parsing are those that the standard library finds by parsing everything."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interop.registry import _entry_points as discovery

if TYPE_CHECKING:
    from collections.abc import Sequence


GROUP = "interop"
TEXTS = [
    None,
    "",
    "[interop]\none = one.plugin\ntwo = two.plugin:thing [extra]\n",
    "[console_scripts]\ninterop = tool.cli:main\n",
    "# interop\n[interop.more]\nx = more.plugin\n[other]\ny = y\n",
    "[other]\ny = y\n\n[interop]\r\nthree=three.plugin\n[interop]\nfour = four\n",
    "[ interop ]\nx = spaced\n",
]
LIBRARY = str(Path(importlib.metadata.__file__).parents[2])
"""Of Python, some versions of which import the parser of metadata at its first use."""
NAMES = ["a", "A_b", "a.b", "a--b", "interop", "é"]
SUFFIXES = ["-1.0.dist-info", ".egg-info", "-2-py3.11.egg-info", ".dist-info", ".DIST-INFO", ".info"]
DISTRIBUTION = st.tuples(st.sampled_from(NAMES), st.sampled_from(SUFFIXES), st.sampled_from(TEXTS))
FOLDER = st.tuples(st.sampled_from(["site", "it.egg", "gone"]), st.lists(DISTRIBUTION, max_size=5))


def add(folder: Path, name: str, suffix: str, text: str | None) -> None:
    place = folder / f"{name}{suffix}"
    place.mkdir(parents=True, exist_ok=True)
    (place / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n", encoding="utf-8")
    if text is not None:
        (place / "entry_points.txt").write_text(text, encoding="utf-8", newline="")


def seen(entries: Any) -> list[tuple[str, ...]]:
    return [(each.name, each.value, each.dist.name) for each in entries]


def both(path: Sequence[str]) -> tuple[list[tuple[str, ...]], list[tuple[str, ...]]]:
    with mock.patch.object(sys, "path", [*path, LIBRARY]):
        return seen(discovery.entry_points(GROUP)), seen(importlib.metadata.entry_points(group=GROUP))


@settings(deadline=None)
@given(folders=st.lists(FOLDER, max_size=4), twice=st.booleans())
def test_they_are_what_the_standard_library_finds(folders: list[Any], twice: bool) -> None:
    with tempfile.TemporaryDirectory() as root:
        path = [str(Path(root, f"{index}", kind)) for index, (kind, _) in enumerate(folders)]
        for place, (kind, distributions) in zip(path, folders, strict=True):
            for distribution in distributions if kind != "gone" else ():
                add(Path(place), *distribution)
        ours, theirs = both(path * (1 + twice))
    assert ours == theirs


def test_the_current_folder_and_files_in_place_of_folders(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add(tmp_path, "here", "-1.dist-info", TEXTS[2])
    (tmp_path / "other-1.egg-info").write_text("Name: other\n", encoding="utf-8")
    (tmp_path / "odd-1.dist-info" / "entry_points.txt").mkdir(parents=True)
    (tmp_path / "file").write_text("no folder, no zip file", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    paths: list[list[Any]] = [[""], ["", "file"], [tmp_path], [tmp_path, str(tmp_path)]]
    for path in paths:
        ours, theirs = both(path)
        assert ours == theirs
        assert len(ours) == 2


def test_zip_files_and_further_finders_are_asked(tmp_path: Path) -> None:
    made = tmp_path / "made"
    add(made, "zipped", "-1.dist-info", TEXTS[2])
    archive = tmp_path / "it.zip"
    with zipfile.ZipFile(archive, "w") as file:
        for each in sorted(made.rglob("*")):
            file.write(each, each.relative_to(made))
    ours, theirs = both([str(archive)])
    assert ours == theirs
    assert len(ours) == 2

    class Finder(importlib.metadata.DistributionFinder):
        def find_spec(self, *_: object) -> None:
            return None

        def find_distributions(self, context: Any = None) -> Any:  # noqa: ARG002 - the finders' signature
            return [importlib.metadata.PathDistribution(made / "zipped-1.dist-info")]

    with mock.patch.object(sys, "meta_path", [Finder(), *sys.meta_path]):
        ours, theirs = both([])
    assert ours == theirs
    assert len(ours) == 2


def test_nothing_is_found_where_the_path_is_not_looked_at(tmp_path: Path) -> None:
    add(tmp_path, "hidden", "-1.dist-info", TEXTS[2])
    rest = [each for each in sys.meta_path if each is not importlib.machinery.PathFinder]
    with mock.patch.object(sys, "meta_path", rest):
        ours, theirs = both([str(tmp_path)])
    assert ours == theirs == []


def test_only_what_names_the_group_is_parsed(tmp_path: Path) -> None:
    for index in range(50):
        add(tmp_path, f"other{index}", "-1.dist-info", "[console_scripts]\ntool = tool.cli:main\n")
    add(tmp_path, "mine", "-1.dist-info", TEXTS[2])
    (tmp_path / "other7-1.dist-info" / "entry_points.txt").write_bytes(b"[x]\ny = \xff\n")
    with (
        mock.patch.object(sys, "path", [str(tmp_path)]),
        mock.patch.object(importlib.metadata, "entry_points", side_effect=AssertionError),
        mock.patch("builtins.open", side_effect=open) as read,
    ):
        found = list(discovery.entry_points(GROUP))
    assert [each.name for each in found] == ["one", "two"]
    assert [Path(call.args[0]).parent.name for call in read.call_args_list] == ["mine-1.dist-info"]


@pytest.mark.parametrize(
    "value",
    ["json", "os.path:join", "collections.abc : Mapping.get", "json:loads [fast, more]", "json [fast]"],
)
def test_what_an_entry_point_names_is_loaded_as_by_the_standard_library(value: str) -> None:
    theirs = importlib.metadata.EntryPoint("x", value, GROUP)
    assert discovery.Declared("x", value, "nowhere").load() is theirs.load()


@pytest.mark.parametrize(
    ("value", "error"), [("no_such_module.x", ModuleNotFoundError), ("json:no_such_name", AttributeError)]
)
def test_what_is_not_there_is_said_as_by_the_standard_library(value: str, error: type[Exception]) -> None:
    for entry in (
        discovery.Declared("x", value, "nowhere"),
        importlib.metadata.EntryPoint("x", value, GROUP),
    ):
        with pytest.raises(error, match="no_such_"):
            entry.load()
