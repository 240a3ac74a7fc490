"""Every Python block of the documentation runs, page by page, on the software drivers, and prints what it says.

A page is one program. Its blocks run in order in one process, each at its own lines, so that a traceback names the
line of the page. Comments above a fence steer this; readers of the built page do not see them::

    <!-- no-run: reason -->    the block needs hardware or software that CI lacks; listed in NOT_RUN below
    <!-- prints -->            above a text block: the page has printed these lines so far
    <!-- drawing -->           above a text block: the built page shows it as a drawing
"""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import fresh
import pytest
import software

if TYPE_CHECKING:
    from pathlib import Path

    from interop_softgpu.activate import VulkanChoice

ROOT = software.ROOT
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(page.relative_to(ROOT)) for page in PAGES]
FENCE = re.compile(
    r"^(?:<!-- (?P<mark>[^>]*?) -->\n+)?^```(?P<language>\w+)[^\n]*\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)

NOT_RUN = {
    ("docs/how-to/arrays.md", "needs PyTorch and a GPU that it supports"),
    (
        "docs/how-to/bring-your-own-vulkan.md",
        "a fragment for programs with threads; locks of every kind are under test in the suite",
    ),
}
"""The only blocks that may stay unrun, each with its reason."""
LAVAPIPE = {"docs/how-to/share-host-memory.md"}
"""Pages about what SwiftShader, which runs all others, cannot do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Block:
    """One fenced block."""

    line: int
    """Of its first line of text, counted from 1."""
    language: str
    mark: str
    body: str


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            line=text.count("\n", 0, found.start("body")) + 1,
            language=found["language"],
            mark=found["mark"] or "",
            body=found["body"],
        )
        for found in FENCE.finditer(text)
    ]


def program(page: Path) -> str:
    """The page's Python, each block at its own lines."""
    lines: list[str] = []
    for block in blocks(page):
        if block.language == "python" and not block.mark.startswith("no-run"):
            lines += [""] * (block.line - 1 - len(lines)) + block.body.splitlines()
    return "\n".join(lines) + "\n" if lines else ""


RUNNABLE = [name for name, page in zip(NAMES, PAGES, strict=True) if program(page)]


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
@pytest.mark.parametrize("name", RUNNABLE)
def test_the_code_of_a_page_runs(name: str, tmp_path: Path) -> None:
    page = ROOT / name
    script = tmp_path / page.name.replace(".md", ".py")
    script.write_text(program(page), encoding="utf-8")
    command = [sys.executable, "-W", "error::ResourceWarning", str(script)]
    vulkan: VulkanChoice = "lavapipe" if name in LAVAPIPE else "swiftshader"
    done = fresh.run(command, software.environment(vulkan), timeout=100, cwd=tmp_path)
    assert done.status == 0, f"{name} (lines as in the page)\n{done.output}"
    assert "ResourceWarning" not in done.output, done.output
    printed = [line.rstrip() for line in done.output.splitlines()]
    for block in blocks(page):
        if block.mark == "prints":
            missing = [line for line in block.body.splitlines() if line.rstrip() not in printed]
            assert not missing, f"{name}:{block.line} promises lines that were not printed\n{done.output}"


def test_what_is_not_run_is_listed() -> None:
    found = {
        (name, block.mark.removeprefix("no-run: "))
        for name, page in zip(NAMES, PAGES, strict=True)
        for block in blocks(page)
        if block.mark.startswith("no-run")
    }
    assert found == NOT_RUN


def test_every_mark_is_known() -> None:
    for name, page in zip(NAMES, PAGES, strict=True):
        for block in blocks(page):
            mark = block.mark.partition(":")[0]
            assert mark in {"", "no-run", "prints", "drawing"}, f"{name}:{block.line}: {block.mark!r}"
            if mark:
                assert block.language == ("python" if mark == "no-run" else "text"), f"{name}:{block.line}"


def test_no_python_hides_under_another_name() -> None:
    for name, page in zip(NAMES, PAGES, strict=True):
        text = page.read_text(encoding="utf-8")
        assert not re.search(r"^[ \t]+```python|^```(py|python3|pycon)\b", text, re.MULTILINE), name
        fences = len(re.findall(r"^```", text, re.MULTILINE))
        assert fences == 2 * len(blocks(page)), (
            f"{name}: a fence without a language, or one that is not closed"
        )


LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_pages_outside_docs_lead_somewhere(name: str) -> None:
    """The pages in docs/ are checked by mkdocs, which is strict."""
    for target in LINK.findall((ROOT / name).read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (ROOT / target).exists(), f"{name} links to {target}"


COMMAND = re.compile(r"^(?:\./run|interop) ([a-z]+)", re.MULTILINE)


def test_commands_exist() -> None:
    """What pages tell to type is a command of ./run or of the command line."""
    from interop.cli._app import app

    known = set(app.commands)
    known |= set(re.findall(r"^    ([a-z]+)\)$", (ROOT / "run").read_text(encoding="utf-8"), re.MULTILINE))
    for name, page in zip([*NAMES, "CONTRIBUTING.md"], [*PAGES, ROOT / "CONTRIBUTING.md"], strict=True):
        for block in blocks(page):
            if block.language in {"sh", "console"}:
                unknown = set(COMMAND.findall(block.body)) - known
                assert not unknown, f"{name}:{block.line}: {unknown}"


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the software drivers are for Linux")
def test_the_recipe_for_a_backend_gives_one_that_passes(tmp_path: Path) -> None:
    """The shell block of "Add a backend" makes a distribution; installed, it passes cases of the kit."""
    page = ROOT / "docs/how-to/add-a-backend.md"
    recipe = next(
        block.body for block in blocks(page) if block.language == "sh" and "interop_mine" in block.body
    )
    copying, _, rest = recipe.partition("\npip install")
    assert rest, "the recipe ends with the installation"
    script = copying.replace("../interop-mine", str(tmp_path / "mine"))
    subprocess.run(["bash", "-euc", script], check=True, cwd=ROOT)
    site = tmp_path / "site"
    install = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation"]
    done = fresh.run([*install, "--target", str(site), str(tmp_path / "mine")], timeout=100)
    assert done.status == 0, done.output
    environment = software.environment("swiftshader")
    environment["PYTHONPATH"] = f"{site}:{fresh.environment()['PYTHONPATH']}"
    command = [sys.executable, "-m", "pytest", "-p", "interop.testing.plugin", "-p", "no:cacheprovider"]
    command += ["--pyargs", "interop.testing.conformance", "--interop-backend=mine", "-q", "-k", "import"]
    done = fresh.run(command, environment, timeout=100, cwd=tmp_path)
    assert done.status == 0, done.output
    assert "passed" in done.output
