"""What `lookalike ingest` was pointed at: where the bytes lie, and how the service gets them."""

import os
import tempfile
import zipfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path, PurePosixPath

from lookalike.ingest.v1 import job_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client._jobs import Source
from lookalike_client._names import DEFAULT_IMAGE_ENCODER
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.session import complaints
from lookalike_client.client import Client

_ARCHIVES = (".zip", ".tar", ".tgz", ".tzst", ".tar.gz", ".tar.zst")
TABLES = (".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".parquet")
_VECTORS = "vectors."
_PACKED = (".gz", ".zst")
RECORDS = (".fa", ".fasta", ".fna", ".ffn", ".fq", ".fastq", ".sdf", ".sd", ".smi", ".smiles")
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive: sent only once
_MAX_ITEMS = 1000
_LOOKED_AT = 500
"""Files that are looked at to choose an encoder."""

_SHARE = 0.1
"""Of the files of a source: kinds that are rarer get no vector field of their own."""


@dataclass(frozen=True)
class Kind:
    """A kind of items, and how a collection for it is made."""

    field: str
    encoder: str
    suffixes: str
    columns: str = ""
    """Of a table."""


PICTURES = Kind(
    "pictures",
    DEFAULT_IMAGE_ENCODER,
    ".avif .bmp .gif .jpeg .jpg .png .tif .tiff .webp .avi .m4v .mkv .mov .mp4 .webm",
)
KINDS = (
    PICTURES,
    Kind("texts", "encoders/minilm-l6-v2", ".txt .text .md .rst .html .htm .pdf", "text title"),
    Kind("sounds", "encoders/speech-embedding", ".aac .flac .m4a .mp3 .oga .ogg .opus .wav"),
    Kind("molecules", "encoders/morgan-2048", ".sdf .sd .smi .smiles", "smiles"),
    Kind("sequences", "encoders/dna-kmer6", ".fa .fasta .fna .ffn .fq .fastq", "sequence"),
)
_KIND_OF = {suffix: kind for kind in KINDS for suffix in kind.suffixes.split()}
_KIND_OF_COLUMN = {column: kind for kind in KINDS for column in kind.columns.split()}


@dataclass(frozen=True)
class Sources:
    """Where items are to come from."""

    named: Sequence[Path | str]
    """Paths on this machine, and what only the service can read."""
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    columns: Mapping[str, str] | None = None
    """Of a table; None where there is none."""

    @property
    def paths(self) -> Sequence[Path]:
        """Those on this machine."""
        return [each for each in self.named if isinstance(each, Path)]

    def read_there(self) -> Source:
        """The source as the service would read it by itself."""
        return self._source([_uri(each) for each in self.named])

    def sent(self, client: Client) -> Source:
        """Send what lies on this machine, unless it was sent before; the source that reads that."""
        for path in self.paths:
            if path.is_file() and not path.stat().st_size:
                raise CommandError(f"{path} is empty", ExitCode.USAGE)
        with complaints.status("sending"):
            return self._sent(client)

    def _sent(self, client: Client) -> Source:
        if self.columns is None and all(map(_is_single, self.named)):
            return _items(client, self.paths)
        if self.columns is not None:
            return self._source([client.upload(self.paths[0])])
        return self._source(
            [_send(client, each) if isinstance(each, Path) else each for each in self.named]
        )

    def kinds(self) -> Sequence[Kind]:
        """What a new collection should be made for, the most frequent kind first.

        Nothing for a table whose rows bring their vectors.
        """
        if self.columns and any(key.startswith(_VECTORS) for key in self.columns):
            return []
        if self.columns:
            counted = [Counter(_known(_KIND_OF_COLUMN, self.columns))]
        else:
            looked_at = [islice(_names(each), _LOOKED_AT) for each in self.named]
            counted = [Counter(_known(_KIND_OF, map(_suffix, names))) for names in looked_at]
        found: Counter[Kind] = Counter()
        for counts in counted:
            enough = _SHARE * counts.total()
            found.update({kind: number for kind, number in counts.items() if number >= enough})
        return [kind for kind, _ in found.most_common()] or [PICTURES]

    def _source(self, uris: Sequence[str]) -> Source:
        if self.columns is not None:
            return job_pb2.TableSource(uri=uris[0], columns=self.columns)
        return job_pb2.FilesSource(uris=uris, include=self.include, exclude=self.exclude)


def _known(kinds: Mapping[str, Kind], names: Iterable[str]) -> Iterator[Kind]:
    """The kinds of those names that tell one."""
    for name in names:
        if name in kinds:
            yield kinds[name]


def sources_of(
    named: Sequence[str],
    *,
    columns: Mapping[str, str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Sources:
    """Tell tables from files, and what lies here from what lies elsewhere."""
    found = [_located(each) for each in named]
    is_table = bool(columns) or any(map(_is_table, named))
    if is_table and (len(named) > 1 or include or exclude):
        raise CommandError("one table at a time, without --include and --exclude", ExitCode.USAGE)
    return Sources(found, include, exclude, (columns or {}) if is_table else None)


def pack(found: Path, archive: Path) -> Path:
    """Write a file, or the files below a folder under their paths in it, into a zip archive."""
    home = found if found.is_dir() else found.parent
    members = list(_members(found)) if found.is_dir() else [found]
    if not members:
        raise CommandError(f"no files in {found}", ExitCode.USAGE)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for member in members:
            info = zipfile.ZipInfo(_key(member.relative_to(home)), _ZIP_TIME)
            info.file_size = member.stat().st_size  # lets zipfile prepare for large members
            with member.open("rb") as source, packed.open(info, "w") as target:
                while block := source.read(1 << 20):
                    target.write(block)
    return archive


def _located(name: str) -> Path | str:
    if "://" in name or name.startswith("assets/"):
        return name
    path = Path(name).resolve()
    if not path.exists():
        raise CommandError(f"no such file or folder: {name}", ExitCode.USAGE)
    return path


def _uri(place: Path | str) -> str:
    if isinstance(place, str):
        return place
    return place.as_uri() + ("/" if place.is_dir() else "")


def _is_table(name: str) -> bool:
    return not name.endswith("/") and _suffix(name) in TABLES


def _suffix(name: str) -> str:
    """The ending that says what a file is, in lower case, without that of its compression."""
    path = PurePosixPath(name.partition("?")[0].lower())
    return PurePosixPath(path.stem).suffix if path.suffix in _PACKED else path.suffix


def _names(place: Path | str) -> Iterator[str]:
    """Names of files at a place, as far as they can be seen from here."""
    if isinstance(place, Path) and place.is_dir():
        yield from map(str, _members(place))
    else:
        yield str(place)


def _is_single(place: Path | str) -> bool:
    """Whether it is one item that lies here: no archive, and nothing that its name must explain."""
    if not isinstance(place, Path) or not place.is_file():
        return False
    return not place.name.lower().endswith((*_ARCHIVES, *_PACKED, *RECORDS))


def _items(client: Client, paths: Sequence[Path]) -> job_pb2.ItemsSource:
    """Send files as items of the request, each under its name."""
    if len(paths) > _MAX_ITEMS:
        raise CommandError(f"at most {_MAX_ITEMS:,} files at once; name a folder", ExitCode.USAGE)
    source = job_pb2.ItemsSource()
    for path in paths:
        content = content_pb2.Content(asset=client.upload(path))
        source.items.add(content=content, item=_key(Path(path.name)), source_uri=path.as_uri())
    return source


def _send(client: Client, path: Path) -> str:
    """Send an archive, or an archive of what it is; `assets/{asset}`."""
    if path.is_file() and path.name.lower().endswith(_ARCHIVES):
        return client.upload(path)
    with tempfile.TemporaryDirectory() as folder:
        return client.upload(pack(path, Path(folder) / "files.zip"))


def _key(path: Path) -> str:
    """The item key of a path, as the service makes it: bytes that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _members(folder: Path) -> Iterator[Path]:
    """Regular files below the folder, sorted; hidden ones and links are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path
