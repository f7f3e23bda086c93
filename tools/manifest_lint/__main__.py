"""`python -m tools.manifest_lint FILE…` (or standard input): print findings, fail if there are."""

from __future__ import annotations

import sys
from pathlib import Path

from tools.manifest_lint import Manifests, lint


def main() -> None:
    """Lint each file as one rendered overlay."""
    texts = [Path(name).read_text() for name in sys.argv[1:]] or [sys.stdin.read()]
    findings = [finding for text in texts for finding in lint(Manifests.parse(text))]
    for finding in findings:
        print(finding)  # noqa: T201 - this is a command
    sys.exit(1 if findings else 0)


if __name__ == "__main__":
    main()
