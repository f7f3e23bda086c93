"""What is released works where nothing else of this tree is."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from tools import build_dist

UV = build_dist.UV
HEAVY = {
    *("opencv-python-headless", "pymilvus", "milvus-lite", "onnxruntime", "numpy", "dbos"),
    *("fastapi", "pandas", "lookalike-common", "lookalike-media"),
}
"""What a caller of the suite must not have to install."""


@pytest.fixture(scope="session")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    build_dist.build(folder)
    return folder


class Environment:
    """An empty virtual environment that sees nothing of the workspace."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.run(str(UV), "venv", "--quiet", str(folder))

    def run(self, *command: str) -> str:
        environment = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRT"))}
        result = subprocess.run(
            command,
            cwd=self.folder.parent,
            env={**environment, "UV_PYTHON_DOWNLOADS": "never"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert result.returncode == 0, result.stdout + result.stderr
        return result.stdout

    def install(self, dist: Path, requirement: str, lock: str) -> None:
        """Install as the deployment guide says: the lock, then our wheels without any index."""
        pip = (str(UV), "pip", "install", "--quiet", "--python", str(self.folder))
        self.run(*pip, "--no-deps", "--require-hashes", "-r", str(dist / "locks" / lock))
        self.run(*pip, "--no-index", "--find-links", str(dist), requirement)
        self.run(str(UV), "pip", "check", "--python", str(self.folder))

    def tool(self, name: str, *arguments: str) -> str:
        return self.run(str(self.folder / "bin" / name), *arguments)

    def installed(self) -> dict[str, str]:
        command = (str(UV), "pip", "list", "--python", str(self.folder), "--format", "json")
        return {each["name"]: each["version"] for each in json.loads(self.run(*command))}


def pins(text: str) -> dict[str, set[str]]:
    """Hashes by `name==version`."""
    found: dict[str, set[str]] = {}
    for entry in text.replace("\\\n", " ").splitlines():
        hashes = set(re.findall(r"--hash=(\S+)", entry))
        found.setdefault(entry.split()[0], set()).update(hashes)
    return found


def test_all_eight_distributions_carry_one_version(dist: Path) -> None:
    names = {path.name for path in dist.glob("*.whl")}
    kinds = ("common", "encoder", "gateway", "ingest", "media", "protos", "search")
    stems = {"lookalike", *(f"lookalike_{kind}" for kind in kinds)}
    assert names == {f"{stem}-{build_dist.version()}-py3-none-any.whl" for stem in stems}


def test_every_lock_is_a_part_of_the_main_lock(dist: Path) -> None:
    main = pins(build_dist.LOCK.read_text())
    for path in sorted((dist / "locks").glob("*.txt")):
        part = pins(path.read_text())
        assert part, path.name
        assert {pin: main.get(pin) for pin in part} == part, path.name


def test_everything_for_one_machine_installs_into_an_empty_environment(
    dist: Path, tmp_path: Path
) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(dist, "lookalike[all]", "all.txt")
    assert build_dist.version() in environment.tool("lookalike", "version")
    assert "doctor" in environment.tool("lookalike", "doctor", "--help")
    for service in ("encoder", "search", "ingest", "gateway"):
        assert environment.tool(f"lookalike-{service}", "config")


def test_an_encoder_image_has_what_every_kind_of_encoder_needs(dist: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(dist, "lookalike-encoder[cpu]", "encoder.txt")
    imports = "from importlib.metadata import entry_points; import lookalike_media._sndfile; "
    loads = "print(*[each.load().__name__ for each in entry_points(group='lookalike.encoders')])"
    assert "AudioEncoder" in environment.tool("python", "-c", imports + loads)
    for built_in in ("dna-kmer6", "morgan-2048", "phash-256"):
        proved = environment.tool("lookalike-encoder", "models", "verify", built_in)
        assert "makes the right vectors" in proved


def test_the_client_alone_is_small(dist: Path, tmp_path: Path) -> None:
    environment = Environment(tmp_path / "venv")
    environment.install(dist, "lookalike", "client.txt")
    assert build_dist.version() in environment.tool("lookalike", "version")
    assert not HEAVY & set(environment.installed())
    size = sum(path.stat().st_size for path in environment.folder.rglob("*") if path.is_file())
    assert size < 80_000_000


def test_a_caller_in_another_language_can_generate_from_the_api_bundle(
    dist: Path, tmp_path: Path
) -> None:
    (bundle,) = dist.glob("lookalike-api-*.tar.gz")
    subprocess.run(["tar", "-xzf", bundle, "-C", tmp_path], check=True)
    (root,) = tmp_path.iterdir()
    subprocess.run(["buf", "build"], cwd=root, check=True, env=_with_tools())
    for path in (root / "protos" / "lookalike").rglob("*.proto"):
        text = path.read_text()
        assert "option go_package = " in text, path.name
        assert "option java_package = " in text, path.name
    assert json.loads((root / "clients" / "service-config.json").read_text())


def _with_tools() -> dict[str, str]:
    bin_folder = build_dist.ROOT / ".venv" / "bin"
    return {**os.environ, "PATH": f"{bin_folder}{os.pathsep}{os.environ['PATH']}"}
