"""Compares the protos with those of the last release; advisory until 0.1.0 is out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUF = Path(sys.executable).parent / "buf"


def main() -> None:
    """Print what would break callers of the last release; fail from 0.1.0 on."""
    tags = _output("git", "tag", "--list", "v*", "--sort=-version:refname").split()
    if not tags:
        return
    against = f"{ROOT / '.git'}#tag={tags[0]},subdir=protos"
    result = subprocess.run(  # noqa: S603 - buf of this environment
        [str(BUF), "breaking", "protos", "--against", against], cwd=ROOT, check=False
    )
    advisory = tags[0].startswith("v0.0.")
    sys.exit(0 if advisory else result.returncode)


def _output(*command: str) -> str:
    return subprocess.run(  # noqa: S603 - git of the developer
        command, cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


if __name__ == "__main__":
    main()
