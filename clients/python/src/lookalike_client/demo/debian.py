"""Gets a package of Debian as data: downloaded without root, read without unpacking it whole."""

import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def is_possible() -> bool:
    """Whether this system has the programs of Debian."""
    return shutil.which("apt-get") is not None and shutil.which("dpkg-deb") is not None


def download(package: str, folder: Path) -> Path | None:
    """Download a package into an empty folder, checked by apt; None if it is not to be had."""
    # The lists of packages may be missing, as in a fresh container: fetch them here, not there.
    here = _private_state(folder / "apt")
    if _apt_get("download", package, folder=folder) or (
        _apt_get(*here, "update", folder=folder)
        and _apt_get(*here, "download", package, folder=folder)
    ):
        return next(folder.glob("*.deb"))
    return None


def files(package: Path, below: PurePosixPath) -> Iterator[tuple[PurePosixPath, bytes]]:
    """Yield the files of a package below a folder such as `./usr/share`, by their path in it."""
    command = ["dpkg-deb", "--fsys-tarfile", str(package)]
    with (
        subprocess.Popen(command, stdout=subprocess.PIPE) as process,  # noqa: S603 - fixed words
        tarfile.open(fileobj=process.stdout, mode="r|") as archive,
    ):
        for member in archive:
            path = PurePosixPath(member.name)
            file = archive.extractfile(member) if member.isfile() else None
            if file is not None and path.is_relative_to(below):
                yield path.relative_to(below), file.read()


def _private_state(folder: Path) -> list[str]:
    """Options with which apt-get keeps its lists below the folder; that needs no root."""
    for name in ("state/lists/partial", "cache/archives/partial"):
        (folder / name).mkdir(parents=True)
    options = (
        f"Dir::State={folder / 'state'}",
        "Dir::State::status=/var/lib/dpkg/status",
        f"Dir::Cache={folder / 'cache'}",
        "APT::Sandbox::User=",  # another user could not write here
    )
    return [word for option in options for word in ("-o", option)]


def _apt_get(*arguments: str, folder: Path) -> bool:
    command = ["apt-get", "-qq", "-o", "Acquire::Retries=2", *arguments]
    ended = subprocess.run(command, cwd=folder, capture_output=True, check=False)  # noqa: S603 - fixed words
    return ended.returncode == 0
