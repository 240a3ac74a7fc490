"""Fetch SwiftShader out of Debian's package chromium-common: ``python -m interop_softgpu.fetch_swiftshader``.

Needs apt-get and dpkg-deb, no root, and installs nothing: two files (6 MB) go into the cache, in a folder
named for the package's version.
"""

# ruff: noqa: T201 - a command: printing is its output
from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

from interop_softgpu import paths
from interop_softgpu.swiftshader import LIBRARY, MANIFEST, swiftshader, write_manifest

PACKAGE = "chromium-common"
TIMEOUT_S = 600


class FetchError(RuntimeError):
    """SwiftShader could not be fetched; the message names the reason and the alternatives."""


def fetch(deb: Path | None = None) -> Path:
    """Return the manifest of the newest SwiftShader, out of ``deb`` or a downloaded package.

    Raises :class:`FetchError` when the package cannot be had or holds no SwiftShader; the cache is then as
    it was.
    """
    for tool in ["dpkg-deb"] if deb else ["apt-get", "dpkg-deb"]:
        if shutil.which(tool) is None:
            raise FetchError(
                f"{tool} is missing: this fetches a Debian package. Elsewhere take libvk_swiftshader.so from "
                "a Chromium (the npm package @sparticuz/chromium holds one) and set INTEROP_SWIFTSHADER to it"
            )
    paths.cache().mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=paths.cache(), prefix="swiftshader-") as folder:
        return unpack(deb or download(Path(folder)), Path(folder) / "files")


def download(folder: Path) -> Path:
    """Download the package into ``folder`` with apt-get; with private package lists if the system's fail."""
    outcome = _run(["apt-get", "-q", "download", PACKAGE], folder)
    if outcome.returncode != 0:
        private = _private_lists(folder)
        _run(["apt-get", "-q", *private, "update"], folder)
        outcome = _run(["apt-get", "-q", *private, "download", PACKAGE], folder)
    found = sorted(folder.glob(f"{PACKAGE}_*.deb"))
    if outcome.returncode != 0 or not found:
        raise FetchError(
            f"apt-get could not download {PACKAGE} (Ubuntu has none: give Debian's .deb as --deb):\n"
            f"{outcome.stderr.strip()}"
        )
    return found[-1]


def unpack(deb: Path, scratch: Path) -> Path:
    """Take SwiftShader out of ``deb`` into the cache; ``scratch`` is a folder to be made on the same disk."""
    version = _run(["dpkg-deb", "--field", str(deb), "Version"], None)
    if version.returncode != 0:
        raise FetchError(f"expected a Debian package, got {deb}: {version.stderr.strip()}")
    target = paths.cache() / "swiftshader" / version.stdout.strip().replace(":", "_")
    if not (target / LIBRARY).is_file():
        scratch.mkdir()
        _extract(deb, scratch)
        if not (scratch / LIBRARY).is_file():
            raise FetchError(f"{deb.name} does not contain {LIBRARY}; pass a package of chromium-common")
        if not (scratch / MANIFEST).is_file():
            write_manifest(target / LIBRARY, scratch)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        scratch.rename(target)
    return target / MANIFEST


def _extract(deb: Path, folder: Path) -> None:
    command = ["dpkg-deb", "--fsys-tarfile", str(deb)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:  # noqa: S603 - a fixed command
        assert process.stdout is not None
        with tarfile.open(fileobj=process.stdout, mode="r|") as archive:
            for member in archive:
                name = PurePosixPath(member.name).name
                wanted = name in {LIBRARY, MANIFEST} and member.isfile()
                content = archive.extractfile(member) if wanted else None
                if content is not None:
                    with content, (folder / name).open("wb") as file:
                        shutil.copyfileobj(content, file)
        process.stdout.read()  # the padding after the archive: dpkg-deb must be able to write to its end


def _private_lists(folder: Path) -> list[str]:
    state, cache = folder / "state", folder / "cache"
    for made in (state / "lists/partial", cache / "archives/partial"):
        made.mkdir(parents=True)
    options = {
        "Dir::State": state,
        "Dir::State::Lists": state / "lists",
        "Dir::State::status": "/var/lib/dpkg/status",
        "Dir::Cache": cache,
        "APT::Sandbox::User": "",
    }
    return [part for name, value in options.items() for part in ("-o", f"{name}={value}")]


def _run(command: list[str], folder: Path | None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(  # noqa: S603 - fixed commands
        command, cwd=folder, capture_output=True, text=True, check=False, timeout=TIMEOUT_S
    )


def main(arguments: list[str] | None = None) -> int:
    """Fetch, and print where the driver is."""
    parser = argparse.ArgumentParser(prog="python -m interop_softgpu.fetch_swiftshader", description=__doc__)
    parser.add_argument("--deb", type=Path, help=f"take it from this {PACKAGE} package, downloading nothing")
    parser.add_argument("--update", action="store_true", help="fetch although a SwiftShader is there already")
    options = parser.parse_args(arguments)
    existing = None if options.update or options.deb else swiftshader()
    try:
        manifest = existing or fetch(options.deb)
    except (FetchError, OSError, subprocess.SubprocessError, tarfile.TarError) as error:
        print(f"SwiftShader could not be fetched: {error}", file=sys.stderr)
        return 1
    print(f"SwiftShader{' (already there)' if existing else ''}: {manifest}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
