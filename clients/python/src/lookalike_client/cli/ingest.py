"""`lookalike ingest`: puts things of any kind into a collection, showing how it goes."""

from collections.abc import Sequence
from contextlib import suppress
from functools import partial

import typer

from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import collection_pb2
from lookalike_client._jobs import with_source
from lookalike_client._names import collection_name, encoder_name
from lookalike_client.cli import ingest_options as given
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.following import leave, stay
from lookalike_client.cli.session import CollectionOption, complaints, session_of
from lookalike_client.cli.sources import Kind, Sources, sources_of
from lookalike_client.client import Client
from lookalike_client.errors import (
    AlreadyExistsError,
    InvalidRequestError,
    NotFoundError,
    PreconditionError,
)


def ingest(
    context: typer.Context,
    *,
    source: given.SourcesArgument = None,
    collection: CollectionOption = "photos",
    encoder: given.EncoderOption = "",
    from_collection: given.FromCollectionOption = "",
    filter_: given.FilterOption = "",
    column: given.ColumnOption = None,
    include: given.IncludeOption = None,
    exclude: given.ExcludeOption = None,
    upload: given.UploadOption = False,
    wait: given.WaitOption = True,
    dry_run: given.DryRunOption = False,
    sync: given.SyncOption = False,
    watch: given.WatchOption = "",
    max_rate: given.RateOption = 0.0,
    stop_on_error: given.StopOption = False,
    attribute: given.AttributeOption = None,
    label: given.LabelOption = None,
    request_id: given.RequestIdOption = "",
    discard_originals: given.DiscardOption = False,
    keep_location: given.KeepLocationOption = False,
    detector: given.DetectorOption = "",
    tile_pixels: given.TileOption = 0,
    parts_only: given.PartsOnlyOption = False,
    min_score: given.MinScoreOption = 0.0,
    max_interval: given.MaxIntervalOption = "",
    skip_audio: given.SkipAudioOption = False,
    window: given.WindowOption = "",
    hop: given.HopOption = "",
    keep_silence: given.KeepSilenceOption = False,
    max_tokens: given.MaxTokensOption = 0,
    overlap_tokens: given.OverlapOption = 0,
    bases: given.BasesOption = 0,
    step: given.StepOption = 0,
    both_strands: given.BothStrandsOption = False,
    strip_salts: given.StripSaltsOption = False,
    canonical_items: given.CanonicalOption = False,
) -> None:
    """Put files, tables or another collection's items into a collection; create that if need be."""
    splitter = given.splitter_of(
        given.pictures_of(detector, tile_pixels, min_score, parts_only=parts_only),
        video=given.video_of(max_interval, skip_audio=skip_audio),
        audio=given.audio_of(window, hop, keep_silence=keep_silence),
        text=job_pb2.TextSplitter(max_tokens=max_tokens, overlap_tokens=overlap_tokens),
        sequence=job_pb2.SequenceSplitter(window=bases, step=step, both_strands=both_strands),
        molecule=job_pb2.MoleculeSplitter(strip_salts=strip_salts, canonical_items=canonical_items),
    )
    options = given.options_of(
        watch,
        max_rate,
        stop_on_error=stop_on_error,
        sync=sync,
        dry_run=dry_run,
        discard_assets=discard_originals,
        keep_location=keep_location,
    )
    order = job_pb2.Job(
        collection=collection_name(collection),
        splitter=splitter,
        options=options,
        attributes=given.attributes_of(attribute),
        labels=given.assignments("--label", label),
        request_id=request_id,
    )
    copied = given.copied_from(from_collection, filter_, source)
    sources = sources_of(
        source or (), columns=given.columns_of(column), include=include or (), exclude=exclude or ()
    )
    with session_of(context).client() as client:
        kinds = [Kind("", encoder, "")] if encoder else () if copied else sources.kinds()
        ensure_collection(client, order, kinds, like=copied.collection if copied else "")
        job = start(client, order, copied or sources, upload=upload)
        raise typer.Exit(stay(client, job) if wait else leave(job))


def ensure_collection(
    client: Client, order: job_pb2.Job, kinds: Sequence[Kind], *, like: str = ""
) -> None:
    """Create the collection unless it exists: with a vector field for each kind.

    `like` names one whose attributes it gets, and its vector fields, too, where there are no kinds.
    """
    try:
        client.collection(order.collection)
    except NotFoundError:
        if order.options.dry_run:
            raise
        with suppress(AlreadyExistsError):  # somebody else was faster
            create = partial(_create_like, like=like) if like else _create
            complaints.print(f"created {order.collection} for {create(client, order, kinds)}")


def _create(client: Client, order: job_pb2.Job, kinds: Sequence[Kind]) -> str:
    """Create the collection; what it is for, in words."""
    if not kinds:
        raise CommandError(
            "vectors need a field in a collection that exists: `lookalike collections create "
            f"{order.collection.removeprefix('collections/')} --field NAME=DIMENSIONS:METRIC`",
            ExitCode.USAGE,
        )
    first, *others = kinds
    if others:
        fields = [
            collection_pb2.VectorField(name=kind.field, encoder=kind.encoder, optional=True)
            for kind in kinds
        ]
        try:
            client.create_collection(order.collection, vector_fields=fields)
        except PreconditionError as error:
            if error.reason != "UNSUPPORTED_BY_BACKEND":
                raise
        else:
            named = [f"{kind.field} ({encoder_name(kind.encoder)})" for kind in kinds]
            return ", ".join(named)
    client.create_collection(order.collection, encoder=first.encoder)
    return encoder_name(first.encoder)


def _create_like(client: Client, order: job_pb2.Job, kinds: Sequence[Kind], *, like: str) -> str:
    """Create the collection after the model of another; what it is for, in words."""
    model = client.collection(like)
    for field in model.vector_fields:
        field.ClearField("encoder_fingerprint")
    fields = [collection_pb2.VectorField(encoder=encoder_name(kind.encoder)) for kind in kinds]
    client.create_collection(
        order.collection,
        vector_fields=fields or model.vector_fields,
        attributes=model.attributes,
        text_index=model.text_index if model.HasField("text_index") else None,
    )
    return ", ".join(each.encoder or each.name for each in fields or model.vector_fields)


def start(
    client: Client,
    order: job_pb2.Job,
    wanted: Sources | job_pb2.CollectionSource,
    *,
    upload: bool = False,
) -> job_pb2.Job:
    """Start a job: its files are read by the service where it may, or else sent to it."""
    if isinstance(wanted, job_pb2.CollectionSource):
        return client.create_job(with_source(order, wanted))
    if not (upload and wanted.paths):
        try:
            return client.create_job(with_source(order, wanted.read_there()))
        except InvalidRequestError as error:
            if error.reason != "LOCATION_NOT_ALLOWED" or not wanted.paths:
                raise
        complaints.print("the service may not read that path (see `up --root`); sending it")
    return client.create_job(with_source(order, wanted.sent(client)))
