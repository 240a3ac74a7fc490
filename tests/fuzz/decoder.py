"""Coverage-guided fuzzing of the decoder of another process's messages, with Atheris (libFuzzer).

    pip install atheris
    python tests/fuzz/decoder.py --seconds 300

Starts from a good message of each kind and from the words that the decoder knows; what it finds on the way is kept in
``--corpus`` where that is given. Each input is a datagram with the number of descriptors that came with it in its first
byte, and a bit that says whether the header is to be mended, so that most inputs reach the body. ``hostile.take`` says
what must hold. Prints libFuzzer's own report and a line of JSON; exits with 1 when an input broke something, which is
then in the folder given by ``--findings``.
"""

from __future__ import annotations

import argparse
import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests/support")]
_MEND = 0x80
_KNOWING = 0.7
"""Share of the mutations that keep a body JSON: random ones seldom do."""
_LONGEST = 4096
"""Bytes of the longest input: the largest seed has 1,500, and lists repeat their parts."""


def fuzz(arguments: list[str]) -> None:
    """Be the fuzzer's process, which ends in here."""
    import atheris

    with atheris.instrument_imports(include=["interop"]):
        import hostile

        from interop.ipc import _wire as wire

    kinds = [*hostile.BODIES]

    def one(data: bytes) -> None:
        if not data:
            return
        first, rest = data[0], data[1:]
        fds = first & 3
        if first & _MEND:
            kind = kinds[(first >> 2) % len(kinds)]
            hostile.take(hostile.datagram(kind, rest[: wire.MAX_BODY], fds), fds)
        else:
            hostile.take(rest, fds)

    words = hostile.words()

    def mutate(data: bytes, longest: int, seed: int) -> bytes:
        choose = random.Random(seed)  # noqa: S311 - mutations, not secrets
        if data and choose.random() < _KNOWING:
            try:
                value: Any = json.loads(data[1:])
                change(value, choose, words)
                made = bytes([data[0] | _MEND]) + json.dumps(value).encode()
            except (ValueError, RecursionError):
                made = b""
            if 0 < len(made) <= longest:
                return made
        return bytes(atheris.Mutate(data, longest))

    atheris.Setup([sys.argv[0], *arguments], one, custom_mutator=mutate)
    atheris.Fuzz()


def change(value: Any, choose: random.Random, words: list[str]) -> None:
    """Put another value, taken from it or known to the decoder, somewhere into a JSON value."""
    places: list[tuple[Any, Any]] = []

    def walk(inner: Any) -> None:
        if isinstance(inner, (dict, list)):
            for key in inner if isinstance(inner, dict) else range(len(inner)):
                places.append((inner, key))
                walk(inner[key])

    walk(value)
    if not places:
        return
    inside, key = choose.choice(places)
    other, name = choose.choice(places)
    kind = choose.randrange(6)
    if kind == 0:
        del inside[key]
    elif kind == 1 and isinstance(inside, list):
        inside.extend([inside[key]] * choose.choice([1, 8, 40]))
    elif kind == 2:
        inside[key] = json.loads(json.dumps(other[name]))
    elif kind == 3:
        inside[key] = choose.choice([0, 1, -1, 2, 16, 2**31, 2**62, 2**63, 2**64, 1.5, 10**400])
    elif kind == 4:
        inside[key] = choose.choice([None, True, False, [], {}, "", "0", "\ud800", "\u0660", "a" * 2000])
    else:
        inside[key] = choose.choice(words)


def _seed(corpus: Path) -> None:
    import hostile

    for index, (kind, body) in enumerate(hostile.BODIES.items()):
        (corpus / f"body-{kind.name}").write_bytes(bytes([_MEND | index << 2]) + body)
        (corpus / f"whole-{kind.name}").write_bytes(b"\0" + hostile.datagram(kind, body))


def _dictionary(path: Path) -> None:
    import hostile

    lines = (json.dumps(word).replace("\\u", "\\\\u") for word in hostile.words() if word.isascii())
    path.write_text("\n".join(lines) + "\n", encoding="ascii")


def main() -> int:
    """Start the fuzzer on the seeds, and print its result in one line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument(
        "--corpus", type=Path, help="folder in which inputs are kept; a temporary one by default"
    )
    parser.add_argument(
        "--findings", type=Path, default=Path.cwd(), help="folder for inputs that break something"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the mutations; 0: another one each time")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="interop-fuzz-") as name:
        folder = Path(name)
        corpus = options.corpus or folder / "corpus"
        corpus.mkdir(parents=True, exist_ok=True)
        _seed(corpus)
        _dictionary(folder / "words")
        command = [sys.executable, __file__, "fuzz", str(corpus), f"-max_total_time={options.seconds}"]
        command += [
            f"-dict={folder / 'words'}",
            f"-max_len={_LONGEST}",
            "-timeout=10",
            f"-seed={options.seed}",
        ]
        command += ["-print_final_stats=1", "-rss_limit_mb=2048", f"-artifact_prefix={options.findings}/"]
        done = subprocess.run(command, stderr=subprocess.PIPE, text=True, errors="replace", check=False)
        inputs = len(list(corpus.iterdir()))
    sys.stderr.write(done.stderr)
    stats = dict(
        line.removeprefix("stat::").split(":", 1)
        for line in done.stderr.splitlines()
        if line.startswith("stat::")
    )
    executions = int(stats.get("number_of_executed_units", 0))
    print(json.dumps({"executions": executions, "inputs": inputs, "status": done.returncode}))
    return 1 if done.returncode or not executions else 0


if __name__ == "__main__":
    if sys.argv[1:2] == ["fuzz"]:
        fuzz(sys.argv[2:])
    else:
        sys.exit(main())
