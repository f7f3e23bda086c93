"""Options of `lookalike ingest`, and the parts of a job that they make."""

import json
from collections.abc import Sequence
from datetime import timedelta
from typing import Annotated, TypeVar

import typer
from google.protobuf.duration_pb2 import Duration
from google.protobuf.json_format import ParseDict
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from lookalike.ingest.v1 import job_pb2
from lookalike_client._names import collection_name, encoder_name
from lookalike_client.cli.exits import CommandError, ExitCode
from lookalike_client.cli.schemas import span_of

SourcesArgument = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SOURCE",
        help="Files, folders and archives here; a table (.csv, .jsonl, .parquet); or what the "
        "service reads: s3://bucket/prefix/, gs://…, az://…, https://…, assets/….",
        show_default=False,
    ),
]
EncoderOption = Annotated[
    str,
    typer.Option(
        help="For a collection that does not exist yet; otherwise chosen by what the source is.",
        show_default=False,
    ),
]
FromCollectionOption = Annotated[
    str, typer.Option(help="Take the items of another collection.", show_default=False)
]
FilterOption = Annotated[
    str,
    typer.Option("--filter", help="With --from-collection: only items that it takes."),
]
ColumnOption = Annotated[
    list[str] | None,
    typer.Option(
        "--column",
        help="Of a table: `what=column`; what is item, text, title, smiles, sequence, uri, "
        "vectors.FIELD or attributes.NAME. Can be repeated.",
    ),
]
IncludeOption = Annotated[
    list[str] | None, typer.Option(help="A glob of paths to take, such as `*.png`.")
]
ExcludeOption = Annotated[list[str] | None, typer.Option(help="A glob of paths to leave out.")]
UploadOption = Annotated[
    bool, typer.Option("--upload", help="Send the bytes even if the service could read them.")
]
WaitOption = Annotated[bool, typer.Option(help="Stay until the job ends.")]
AttributeOption = Annotated[
    list[str] | None,
    typer.Option(help="`name=value` for every entity; the value is JSON, or a text."),
]
LabelOption = Annotated[list[str] | None, typer.Option(help="`name=value`, to find the job by.")]
RequestIdOption = Annotated[
    str, typer.Option(help="The same once more returns the job that it started.")
]
DryRunOption = Annotated[
    bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")
]
SyncOption = Annotated[
    bool,
    typer.Option(
        "--sync", help="Remove what an earlier job wrote from this source and is gone there."
    ),
]
WatchOption = Annotated[
    str,
    typer.Option(
        "--watch", metavar="TIME", help="Stay, and look for what is new each 30s, 15m, 12h."
    ),
]
RateOption = Annotated[
    float, typer.Option("--max-rate", min=0, show_default=False, help="Items a second at most.")
]
StopOption = Annotated[
    bool, typer.Option("--stop-on-error", help="Fail the job with the first item that fails.")
]
DiscardOption = Annotated[
    bool, typer.Option("--discard-originals", help="Keep no copy of the originals' bytes.")
]
KeepLocationOption = Annotated[
    bool, typer.Option("--keep-location", help="Take along where a photo was taken.")
]

DetectorOption = Annotated[
    str,
    typer.Option(help="Pictures and frames: objects that this encoder finds, each an entity."),
]
TileOption = Annotated[
    int,
    typer.Option(
        "--tile-pixels",
        min=0,
        show_default=False,
        help="Pictures and frames: squares of this edge, each an entity.",
    ),
]
PartsOnlyOption = Annotated[
    bool, typer.Option("--parts-only", help="Leave out the whole picture or frame.")
]
MinScoreOption = Annotated[
    float,
    typer.Option(
        min=0, show_default=False, max=1, help="Objects that the detector is at least so sure of."
    ),
]
MaxIntervalOption = Annotated[
    str, typer.Option(metavar="TIME", help="Videos: a frame at least so often: 500ms, 5s, 1m.")
]
SkipAudioOption = Annotated[bool, typer.Option("--skip-audio", help="Videos: leave out the sound.")]
WindowOption = Annotated[
    str, typer.Option(metavar="TIME", help="Sounds: length of a window: 500ms, 5s.")
]
HopOption = Annotated[
    str, typer.Option(metavar="TIME", help="Sounds: from one window's start to the next one's.")
]
KeepSilenceOption = Annotated[
    bool, typer.Option("--keep-silence", help="Sounds: keep windows of silence.")
]
MaxTokensOption = Annotated[
    int, typer.Option(min=0, show_default=False, max=8192, help="Texts: tokens in a chunk.")
]
OverlapOption = Annotated[
    int,
    typer.Option(
        "--overlap-tokens",
        min=0,
        show_default=False,
        max=4096,
        help="Texts: tokens that neighbours share.",
    ),
]
BasesOption = Annotated[
    int,
    typer.Option(
        "--bases", min=0, show_default=False, max=1_000_000, help="Sequences: bases in a window."
    ),
]
StepOption = Annotated[
    int,
    typer.Option(
        "--step",
        min=0,
        show_default=False,
        max=1_000_000,
        help="Sequences: bases from window to window.",
    ),
]
BothStrandsOption = Annotated[
    bool, typer.Option("--both-strands", help="Sequences: both strands as they are.")
]
StripSaltsOption = Annotated[
    bool, typer.Option("--strip-salts", help="Molecules: the largest organic fragment only.")
]
CanonicalOption = Annotated[
    bool,
    typer.Option(
        "--canonical-items", help="Molecules: InChIKeys as keys, where nothing names one."
    ),
]

Options = TypeVar("Options", bound=Message)


def assignments(option: str, given: Sequence[str] | None) -> dict[str, str]:
    """What `name=value` options say, by name."""
    found = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not name or not equals:
            raise CommandError(f"{option} needs name=value, not {each}", ExitCode.USAGE)
        found[name] = value
    return found


def attributes_of(given: Sequence[str] | None) -> Struct | None:
    """Attributes by name; values are JSON, or else texts. None where there are none."""
    named = {name: _value(value) for name, value in assignments("--attribute", given).items()}
    return ParseDict(named, Struct()) if named else None


def columns_of(given: Sequence[str] | None) -> dict[str, str]:
    """Which column of a table gives what."""
    return assignments("--column", given)


def copied_from(
    collection: str, filter_: str, sources: Sequence[str] | None
) -> job_pb2.CollectionSource | None:
    """The collection to read from, if one is named instead of sources."""
    if bool(collection) == bool(sources):
        raise CommandError("give a source, or --from-collection", ExitCode.USAGE)
    if filter_ and not collection:
        raise CommandError("--filter goes with --from-collection", ExitCode.USAGE)
    if not collection:
        return None
    return job_pb2.CollectionSource(collection=collection_name(collection), filter=filter_)


def _value(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_no_number)
    except ValueError:
        return text


def _no_number(name: str) -> object:
    """Refuse NaN and Infinity, which Python takes for JSON."""
    raise ValueError(name)


def duration_of(option: str, text: str) -> Duration | None:
    """The duration that `500ms`, `30s`, `15m`, `12h` or `30d` is; None where nothing is given."""
    if not text:
        return None
    number = text.removesuffix("ms")
    if number != text and number.isdecimal():
        span = timedelta(milliseconds=int(number))
    else:
        span = span_of(text, option)
    duration = Duration()
    duration.FromTimedelta(span)
    return duration


def pictures_of(
    detector: str, tile_pixels: int, min_score: float, *, parts_only: bool
) -> job_pb2.ImageSplitter | None:
    """How pictures and frames are split; None where nothing is said."""
    splitter = job_pb2.ImageSplitter(
        detector=encoder_name(detector) if detector else "",
        tile_pixels=tile_pixels,
        min_score=min_score,
        parts_only=parts_only,
    )
    return splitter if splitter.ListFields() else None


def video_of(max_interval: str, *, skip_audio: bool) -> job_pb2.VideoSplitter:
    """How videos are split, but for their frames."""
    return job_pb2.VideoSplitter(
        max_interval=duration_of("--max-interval", max_interval), skip_audio=skip_audio
    )


def audio_of(window: str, hop: str, *, keep_silence: bool) -> job_pb2.AudioSplitter:
    """How sounds are split."""
    return job_pb2.AudioSplitter(
        window=duration_of("--window", window),
        hop=duration_of("--hop", hop),
        keep_silence=keep_silence,
    )


def options_of(
    watch: str,
    max_rate: float,
    *,
    stop_on_error: bool,
    **flags: bool,
) -> job_pb2.Options:
    """How the job goes about it; flags are those of the proto, by their names."""
    stop, unsaid = job_pb2.Options.ON_ERROR_STOP, job_pb2.Options.ON_ERROR_UNSPECIFIED
    on_error = stop if stop_on_error else unsaid
    return job_pb2.Options(
        on_error=on_error,
        watch_interval=duration_of("--watch", watch),
        max_items_per_second=max_rate,
        **flags,
    )


def splitter_of(
    pictures: job_pb2.ImageSplitter | None,
    *,
    video: job_pb2.VideoSplitter,
    audio: job_pb2.AudioSplitter,
    text: job_pb2.TextSplitter,
    sequence: job_pb2.SequenceSplitter,
    molecule: job_pb2.MoleculeSplitter,
) -> job_pb2.Splitter | None:
    """How items are split, with nothing set where nothing is said."""
    if pictures is not None:
        video.frames.CopyFrom(pictures)

    def said(options: Options) -> Options | None:
        return options if options.ListFields() else None

    splitter = job_pb2.Splitter(
        image=pictures,
        video=said(video),
        audio=said(audio),
        text=said(text),
        sequence=said(sequence),
        molecule=said(molecule),
    )
    return said(splitter)
