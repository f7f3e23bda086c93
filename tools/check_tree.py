"""Checks of the whole tree that no linter makes: sizes, reasons for suppressions, host names.

Prints one line for each finding and ends with 1 if there is any.
"""

from __future__ import annotations

import ast
import io
import re
import subprocess
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAX_FILE_LINES = 600
MAX_FUNCTION_LINES = 80
MAX_COMMON_CODE_LINES = 2000
MAX_README_LINES = 60
NOT_CODE = frozenset(
    {
        *(tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE),
        *(tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER),
    }
)
MAX_FILE_BYTES = 1_000_000

SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:)[^#]*?(?P<reason> - \S.*)?$")
MACHINE_PATH = re.compile(r"(?<![\w.~-])/(?:work|farm|root)/")
REGISTRY_HOSTS = tuple(
    ".".join(parts)
    for parts in (
        ("pypi", "org"),
        ("pythonhosted", "org"),
        ("npmjs", "org"),
        ("registry", "yarnpkg", "com"),
        ("deb", "debian", "org"),
    )
)
"""Written in parts, so that this file does not name them either."""


def main() -> None:
    """Check every file that git tracks or would track."""
    findings = [finding for path in _files() for finding in _check(path)]
    findings += _check_common_size()
    for finding in findings:
        print(finding)  # noqa: T201 - this is a command
    sys.exit(1 if findings else 0)


def _files() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"],  # noqa: S607 - git of the developer
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [ROOT / line for line in listing.splitlines() if (ROOT / line).is_file()]


def _check(path: Path) -> Iterator[str]:
    name = path.relative_to(ROOT)
    if path.stat().st_size > MAX_FILE_BYTES:
        yield f"{name}: {path.stat().st_size} bytes; data of that size is fetched, not committed"
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError:
        return
    for host in REGISTRY_HOSTS:
        if host in text:
            yield f"{name}: names the registry host {host}"
    if MACHINE_PATH.search(text) and path.name != Path(__file__).name:
        yield f"{name}: names a path of one machine"
    lines = text.splitlines()
    if path.name == "README.md" and name.parts[0] != "README.md" and len(lines) > MAX_README_LINES:
        yield f"{name}: {len(lines)} lines; a component's README has at most {MAX_README_LINES}"
    if path.suffix == ".py":
        yield from _check_python(name, text, lines)


def _check_python(name: Path, text: str, lines: list[str]) -> Iterator[str]:
    if len(lines) > MAX_FILE_LINES:
        yield f"{name}: {len(lines)} lines; at most {MAX_FILE_LINES}"
    for number, line in enumerate(lines, 1):
        match = SUPPRESSION.search(line)
        if match and not match["reason"]:
            yield f"{name}:{number}: a suppression needs its reason beside it (` - why`)"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield f"{name}:{node.lineno}: {node.name} has {length} lines"


def _check_common_size() -> list[str]:
    """Keep the shared library small: what only one service uses belongs to that service.

    What serves tests only, its `testing`, is not counted.
    """
    folder = ROOT / "libs" / "common" / "src"
    sources = [path for path in folder.rglob("*.py") if "testing" not in path.parts]
    total = sum(_code_lines(path.read_text(encoding="utf-8")) for path in sources)
    if total > MAX_COMMON_CODE_LINES:
        return [f"libs/common: {total} lines of code; at most {MAX_COMMON_CODE_LINES}"]
    return []


def _code_lines(text: str) -> int:
    """Count the lines that hold code: no blank ones, no comments, no docstrings."""
    prose: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            prose.update(range(node.lineno, (node.end_lineno or node.lineno) + 1))
    code: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in NOT_CODE:
            code.update(range(token.start[0], token.end[0] + 1))
    return len(code - prose)


if __name__ == "__main__":
    main()
