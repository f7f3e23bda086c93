"""`lookalike ingest`: puts a file or a folder into a collection, showing how it goes."""

import os
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from lookalike.ingest.v1 import job_pb2
from lookalike.type.v1 import content_pb2
from lookalike_client._names import DEFAULT_IMAGE_ENCODER, collection_name
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.following import follow, show_end
from lookalike_client.cli.session import CollectionOption, complaints, console, session_of
from lookalike_client.client import Client
from lookalike_client.errors import AlreadyExistsError, InvalidRequestError, NotFoundError

_ARCHIVES = (".zip",)
_ZIP_TIME = (1980, 1, 1, 0, 0, 0)  # the same files make the same archive: sent only once


def ingest(
    context: typer.Context,
    *,
    path: Annotated[Path, typer.Argument(help="A file, an archive or a folder.", exists=True)],
    collection: CollectionOption = "photos",
    encoder: Annotated[
        str, typer.Option(help="For a collection that does not exist yet.")
    ] = DEFAULT_IMAGE_ENCODER,
    upload: Annotated[
        bool, typer.Option("--upload", help="Send the bytes even if the service could read them.")
    ] = False,
    wait: Annotated[bool, typer.Option(help="Stay until the job ends.")] = True,
) -> None:
    """Put a file or a folder into a collection; create that if it does not exist."""
    path = path.resolve()
    with session_of(context).client() as client:
        ensure_collection(client, collection, encoder)
        job = start(client, collection, path, upload=upload)
        if not wait:
            console.print(job.name)
            return
        try:
            end = follow(client, job)
        except KeyboardInterrupt:
            complaints.print(f"the job goes on: lookalike jobs watch {job.name}")
            raise
        raise typer.Exit(show_end(client, end))


def ensure_collection(client: Client, collection: str, encoder: str) -> None:
    """Create the collection unless it exists."""
    try:
        client.collection(collection)
    except NotFoundError:
        try:
            client.create_collection(collection, encoder=encoder)
        except AlreadyExistsError:  # somebody else was faster
            return
        complaints.print(f"created {collection_name(collection)} for {encoder}")


def start(client: Client, collection: str, path: Path, *, upload: bool = False) -> job_pb2.Job:
    """Start a job for a path: read by the service where it may, else sent to it."""
    if not upload:
        try:
            return client.ingest_files(collection, [_uri(path)])
        except InvalidRequestError as error:
            if error.reason != "LOCATION_NOT_ALLOWED":
                raise
        complaints.print("the service may not read that path (see `up --root`); sending it")
    return client.create_job(_uploaded(client, collection, path))


def _uri(path: Path) -> str:
    return path.as_uri() + ("/" if path.is_dir() else "")


def _uploaded(client: Client, collection: str, path: Path) -> job_pb2.Job:
    """Send the bytes; return a job that works on them."""
    job = job_pb2.Job(collection=collection_name(collection))
    if path.is_file() and not path.stat().st_size:
        raise CommandError(f"{path} is empty", ExitCode.USAGE)
    if path.is_dir():
        with tempfile.TemporaryDirectory() as folder:
            archive = pack(path, Path(folder) / "files.zip")
            job.files.uris.append(client.upload(archive))
    elif path.suffix.lower() in _ARCHIVES:
        job.files.uris.append(client.upload(path))
    else:
        content = content_pb2.Content(asset=client.upload(path))
        job.items.items.add(content=content, item=_key(Path(path.name)), source_uri=path.as_uri())
    return job


def pack(folder: Path, archive: Path) -> Path:
    """Write the files below the folder into a zip archive, under their paths in the folder."""
    members = list(_members(folder))
    if not members:
        raise CommandError(f"no files in {folder}", ExitCode.USAGE)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_STORED) as packed:
        for member in members:
            info = zipfile.ZipInfo(_key(member.relative_to(folder)), _ZIP_TIME)
            with member.open("rb") as source, packed.open(info, "w") as target:
                while block := source.read(1 << 20):
                    target.write(block)
    return archive


def _key(path: Path) -> str:
    """The item key of a path, as the service makes it: bytes that are no UTF-8 become escapes."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def _members(folder: Path) -> Iterator[Path]:
    """Regular files below the folder, sorted; hidden ones and links are left out."""
    for path in sorted(folder.rglob("*")):
        hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.is_file() and not path.is_symlink() and not hidden:
            yield path
