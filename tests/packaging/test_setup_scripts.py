"""The set-up behind ``./run``: pieces that decide what is done, called on their own."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Bash = Callable[..., subprocess.CompletedProcess[str]]

ROOT = Path(__file__).parents[2]
PARTS = ("common", "system", "python", "drivers", "checks")


@pytest.fixture
def bash(tmp_path: Path) -> Bash:
    """Run a line of bash with the functions of ``./run`` loaded and an empty cache."""

    def run(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
        parts = "\n".join(f'. "$root/tools/setup/{part}.sh"' for part in PARTS)
        return subprocess.run(
            ["bash", "-c", f"set -euo pipefail\n{parts}\n{line}"],
            env={**os.environ, "root": str(ROOT), "INTEROP_CACHE": str(tmp_path / "cache"), **environment},
            cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip

    return run


@pytest.mark.parametrize("script", ["run", ".ci/run", *(f"tools/setup/{part}.sh" for part in PARTS)])
def test_every_script_parses(script: str) -> None:
    result = subprocess.run(["bash", "-n", str(ROOT / script)], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def test_digest_follows_contents_and_names_but_not_build_folders(bash: Bash, tmp_path: Path) -> None:
    source = tmp_path / "native"
    (source / "build").mkdir(parents=True)
    (source / "a.c").write_text("1")
    seen = [bash(f"digest {source}").stdout]
    (source / "build" / "a.o").write_text("object")
    seen.append(bash(f"digest {source}").stdout)
    (source / "a.c").write_text("2")
    seen.append(bash(f"digest {source}").stdout)
    (source / "a.c").rename(source / "b.c")
    seen.append(bash(f"digest {source}").stdout)
    assert seen[0] == seen[1]
    assert len({seen[0], seen[2], seen[3]}) == 3


def test_a_stamp_holds_for_its_key_only(bash: Bash) -> None:
    line = "is_done a 1 && echo early; mark_done a 1; is_done a 1 && echo yes; is_done a 2 || echo no"
    result = bash(line)
    assert result.stdout.split() == ["yes", "no"]


def test_a_failing_step_shows_the_end_of_its_log_and_its_status(bash: Bash) -> None:
    result = bash("step 'Doing it' bash -c 'echo the reason; exit 7' || echo status $?")
    assert result.stdout.strip() == "status 7"
    assert "Doing it ... FAILED" in result.stderr
    assert "| the reason" in result.stderr


def test_what_cannot_be_installed_is_named_for_each_distribution(bash: Bash) -> None:
    line = "has_vulkan() { false; }; set_up_system vulkan; report_shortfalls"
    result = bash(line, INTEROP_SYSTEM="none")
    assert result.returncode == 0, result.stderr
    assert "apt-get install libvulkan1 (Fedora: vulkan-loader, Arch: vulkan-icd-loader)" in result.stderr


def test_tests_fail_when_the_set_up_is_incomplete(bash: Bash) -> None:
    line = "run_lint() { :; }; python() { echo '3 passed'; }; shortfall 'no driver'; run_tests"
    result = bash(line)
    assert result.returncode == 1
    assert "no driver" in result.stderr


def test_pages_that_do_not_build_fail_the_tests_by_name(bash: Bash) -> None:
    line = "run_lint() { :; }; python() { case $* in *mkdocs*) return 1 ;; *) echo '3 passed' ;; esac; }; run_tests"
    result = bash(line)
    assert result.returncode == 1
    assert "3 passed" in result.stdout
    assert "failed, by docs" in result.stdout + result.stderr


def test_links_of_unpacked_packages_lead_back_to_the_system(bash: Bash, tmp_path: Path) -> None:
    library = tmp_path / "cache" / "sysroot" / "usr" / "lib"
    library.mkdir(parents=True)
    (library / "real.so.1").write_text("")
    (library / "absolute.so").symlink_to("/usr/lib/real.so.1")
    (library / "of-the-system").symlink_to("../bin/env")
    icd = tmp_path / "cache/sysroot/usr/share/vulkan/icd.d/lvp_icd.json"
    icd.parent.mkdir(parents=True)
    icd.write_text('{"ICD": {"library_path": "/usr/lib/libvulkan_lvp.so"}}')
    result = bash("relocate_sysroot")
    assert result.returncode == 0, result.stderr
    assert (library / "absolute.so").resolve() == library / "real.so.1"
    assert (library / "of-the-system").resolve() == Path("/usr/bin/env").resolve()
    assert f'"{library}/libvulkan_lvp.so"' in icd.read_text()


@pytest.mark.parametrize(
    ("arguments", "named"),
    [("", False), ("--frames 3", False), ("--png x.png", True), ("--png=x.png", True), ("--no-png", True)],
)
def test_compare_draws_unless_told_where_or_not_to(bash: Bash, arguments: str, named: bool) -> None:
    assert (bash(f"wants_png {arguments}").returncode == 0) is named


def test_folders_are_searched_once(bash: Bash) -> None:
    result = bash('search_also LIST /a; search_also LIST /b; search_also LIST /a; echo "$LIST"')
    assert result.stdout.strip() == "/a:/b"
