"""The committed SPIR-V is what the GLSL beside it compiles to."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(
    path
    for pattern in ("backends/interop_vulkan/shaders/*", "tests/contract/shaders/*", "examples/shaders/*")
    for path in ROOT.glob(pattern)
    if path.suffix in {".vert", ".frag", ".comp"}
)
HEADER = 5  # words: magic, version, generator, bound, schema
DECORATE, MEMBER_DECORATE = 71, 72  # OpDecorate, OpMemberDecorate
ACCESS = {
    24,
    25,
}  # NonWritable, NonReadable: glslang 15 puts them on the variable too, not on its members alone
COMMAND = "glslangValidator -V --target-env vulkan1.2 SHADER -o SHADER.spv"


def code(spirv: bytes) -> list[tuple[int, ...]]:
    """Every instruction, with the decorations in an order of their own: compilers differ in that.

    Left out are version and generator, which tell the compiler and its target, and how variables are accessed.
    """
    words = [int.from_bytes(spirv[at : at + 4], "little") for at in range(0, len(spirv), 4)]
    instructions: list[tuple[int, ...]] = []
    at = HEADER
    while at < len(words):
        length = words[at] >> 16
        instructions.append(tuple(words[at : at + length]))
        at += length
    others: list[tuple[int, ...]] = []
    decorations: list[tuple[int, ...]] = []
    for each in instructions:
        opcode = each[0] & 0xFFFF
        if opcode not in (DECORATE, MEMBER_DECORATE):
            others.append(each)
        elif opcode == MEMBER_DECORATE or each[2] not in ACCESS:
            decorations.append(each)
    return [*others, *sorted(decorations)]


def test_there_are_shaders() -> None:
    assert {path.name for path in SOURCES} >= {"mesh.vert", "mesh.frag", "add.comp", "wave.comp"}


def test_no_spirv_without_its_source() -> None:
    compiled = {path for folder in {path.parent for path in SOURCES} for path in folder.glob("*.spv")}
    assert compiled == {path.with_name(path.name + ".spv") for path in SOURCES}


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_runs_on_vulkan_1_2(source: Path) -> None:
    spirv = source.with_name(source.name + ".spv").read_bytes()
    assert int.from_bytes(spirv[:4], "little") == 0x07230203
    assert int.from_bytes(spirv[4:8], "little") <= 0x00010500


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_compiles_to_what_is_committed(source: Path, tmp_path: Path) -> None:
    compiler = shutil.which("glslangValidator")
    if compiler is None:
        pytest.skip("no glslangValidator")
    made = tmp_path / "made.spv"
    arguments = [compiler, "-V", "--target-env", "vulkan1.2", str(source), "-o", str(made)]
    subprocess.run(arguments, check=True, capture_output=True, timeout=60)
    committed = source.with_name(source.name + ".spv").read_bytes()
    assert code(made.read_bytes()) == code(committed), f"compile again: {COMMAND}"
