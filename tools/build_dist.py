"""Builds everything that is released into `dist/`: wheels, their locks, the API bundle.

- `*.whl`: the distributions of the workspace;
- `locks/<name>.txt`: for each image, and for `lookalike` and `lookalike[all]`, exactly the
  third-party packages that it needs, in the versions and with the hashes of requirements.lock;
- `lookalike-api-<version>.tar.gz`: the .proto files with those they import, for other languages.

The same commit gives the same bytes: times come from the commit, orders are fixed.
"""

from __future__ import annotations

import argparse
import gzip
import io
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "requirements.lock"
UV = ROOT / ".tools" / "bin" / "uv"
OLDEST = "315532800"
"""1980: before it, zip files cannot tell the time. Used outside a git clone."""


@dataclass(frozen=True)
class LockSpec:
    """What a lock is for: a distribution with extras, or loose requirements."""

    name: str
    project: str = ""
    extras: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()


LOCKS = (
    LockSpec("encoder", "services/encoder", ("cpu",)),
    LockSpec("models", "services/encoder", ("cpu", "install")),
    LockSpec("search", "services/search"),
    LockSpec("ingest", "services/ingest"),
    LockSpec("gateway", "services/gateway"),
    LockSpec("milvus-lite", requirements=("milvus-lite", "pymilvus")),
    LockSpec("client", "clients/python"),
    LockSpec("all", "clients/python", ("all",)),
)


def main() -> None:
    """Build into `--output` (default: dist/), replacing what was there."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--output", type=Path, default=ROOT / "dist")
    build(parser.parse_args().output.resolve())


def build(output: Path) -> None:
    """Build everything into `output`; the stubs must have been generated."""
    shutil.rmtree(output, ignore_errors=True)
    (output / "locks").mkdir(parents=True)
    epoch = _commit_time()
    for member in members():
        _build_wheel(member, output, epoch)
    for spec in LOCKS:
        _write_lock(spec, output / "locks" / f"{spec.name}.txt")
    _write_api_bundle(output, int(epoch))


def members() -> list[Path]:
    """The folders of the workspace's distributions."""
    workspace = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["uv"]["workspace"]
    return sorted(
        path.parent
        for pattern in workspace["members"]
        for path in ROOT.glob(f"{pattern}/pyproject.toml")
    )


def version() -> str:
    """The one version of everything."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def _commit_time() -> str:
    command = ["git", "log", "-1", "--format=%ct"]
    result = subprocess.run(  # noqa: S603 - git of the developer
        command, cwd=ROOT, check=False, capture_output=True, text=True
    )
    return result.stdout.strip() or OLDEST


def _build_wheel(member: Path, output: Path, epoch: str) -> None:
    _run(
        *(sys.executable, "-m", "hatchling", "build", "--target", "wheel"),
        *("--directory", str(output)),
        cwd=member,
        environment={"SOURCE_DATE_EPOCH": epoch},
    )


def _write_lock(spec: LockSpec, target: Path) -> None:
    """Cut out of requirements.lock what one image needs: its pins leave the resolver no choice."""
    ours = [tomllib.loads((m / "pyproject.toml").read_text())["project"]["name"] for m in members()]
    loose = target.with_suffix(".in")
    loose.write_text("\n".join(spec.requirements))
    source = str(ROOT / spec.project / "pyproject.toml") if spec.project else str(loose)
    _run(
        *(str(UV), "pip", "compile", "--quiet", "--universal", "--python-version", "3.11"),
        *("--generate-hashes", "--no-annotate", "--no-header", "--constraint", str(LOCK)),
        *(part for extra in spec.extras for part in ("--extra", extra)),
        *(part for name in ours for part in ("--no-emit-package", name)),
        *(source, "--output-file", str(target)),
        cwd=ROOT,
        environment={"UV_PYTHON_DOWNLOADS": "never"},
    )
    loose.unlink()


def _write_api_bundle(output: Path, epoch: int) -> None:
    """Pack the protos in the layout of buf.yaml, so that `buf generate` works where it lies."""
    top = f"lookalike-api-{version()}"
    with (
        (output / f"{top}.tar.gz").open("wb") as raw,
        gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=epoch) as compressed,
        tarfile.open(fileobj=compressed, mode="w") as archive,
    ):
        for path in _api_files():
            info = tarfile.TarInfo(f"{top}/{path.relative_to(ROOT)}")
            content = path.read_bytes()
            info.size, info.mtime = len(content), epoch
            archive.addfile(info, io.BytesIO(content))


def _api_files() -> Iterator[Path]:
    yield from (ROOT / "LICENSE", ROOT / "buf.yaml", ROOT / "clients" / "service-config.json")
    yield ROOT / "protos" / "README.md"
    for package in ("inference", "lookalike"):
        yield from sorted((ROOT / "protos" / package).rglob("*.proto"))
    yield from sorted((ROOT / "third_party").rglob("*.proto"))


def _run(*command: str, cwd: Path, environment: dict[str, str]) -> None:
    """Run one of our own tools, showing what it says only when it fails."""
    result = subprocess.run(  # noqa: S603 - our own tools with our own arguments
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        check=False,
        capture_output=True,
        text=True,
    )
    if result.returncode:
        sys.exit(f"{' '.join(command[:5])} …\n{result.stdout}{result.stderr}")


if __name__ == "__main__":
    main()
