"""How items become entities: options of the API into the domain's, and back; pure."""

from datetime import timedelta

from google.protobuf.duration_pb2 import Duration

from lookalike.ingest.v1 import job_pb2
from lookalike_common.errors import InvalidArgumentError
from lookalike_ingest.job import (
    AudioOptions,
    ImageOptions,
    MoleculeOptions,
    SequenceOptions,
    SplitterOptions,
    TextOptions,
    VideoOptions,
)


def from_splitter(splitter: job_pb2.Splitter, field: str) -> SplitterOptions:
    """Return the options of every kind. Raises InvalidArgumentError below `field`."""
    video, audio, text = splitter.video, splitter.audio, splitter.text
    sequence, molecule = splitter.sequence, splitter.molecule
    return SplitterOptions(
        image=_from_image(splitter.image),
        video=VideoOptions(
            _span(video.max_interval, given=video.HasField("max_interval")),
            _from_image(video.frames),
            video.skip_audio,
        ),
        audio=AudioOptions(
            _span(audio.window, given=audio.HasField("window")),
            _span(audio.hop, given=audio.HasField("hop")),
            audio.keep_silence,
        ),
        text=_from_text(text, f"{field}.text"),
        sequence=SequenceOptions(sequence.window, sequence.step, sequence.both_strands),
        molecule=MoleculeOptions(molecule.strip_salts, molecule.canonical_items),
    )


def to_splitter(options: SplitterOptions) -> job_pb2.Splitter:
    """Return what was asked for; kinds that nothing was said about stay unset."""
    message = job_pb2.Splitter()
    if options.image != ImageOptions():
        message.image.CopyFrom(_to_image(options.image))
    if options.video != VideoOptions():
        _set_video(message.video, options.video)
    if options.audio != AudioOptions():
        _set_span(message.audio.window, options.audio.window)
        _set_span(message.audio.hop, options.audio.hop)
        message.audio.keep_silence = options.audio.keep_silence
    if options.text != TextOptions():
        message.text.max_tokens = options.text.max_tokens
        message.text.overlap_tokens = options.text.overlap_tokens
    if options.sequence != SequenceOptions():
        message.sequence.window = options.sequence.window
        message.sequence.step = options.sequence.step
        message.sequence.both_strands = options.sequence.both_strands
    if options.molecule != MoleculeOptions():
        message.molecule.strip_salts = options.molecule.strip_salts
        message.molecule.canonical_items = options.molecule.canonical_items
    return message


def _from_image(image: job_pb2.ImageSplitter) -> ImageOptions:
    return ImageOptions(image.detector, image.tile_pixels, image.parts_only, image.min_score)


def _from_text(text: job_pb2.TextSplitter, field: str) -> TextOptions:
    if 0 < text.max_tokens <= text.overlap_tokens:
        raise InvalidArgumentError(
            "neighbours must share less than a whole chunk", field=f"{field}.overlap_tokens"
        )
    return TextOptions(text.max_tokens, text.overlap_tokens)


def _to_image(options: ImageOptions) -> job_pb2.ImageSplitter:
    return job_pb2.ImageSplitter(
        detector=options.detector,
        tile_pixels=options.tile_pixels,
        parts_only=options.parts_only,
        min_score=options.min_score,
    )


def _set_video(message: job_pb2.VideoSplitter, options: VideoOptions) -> None:
    _set_span(message.max_interval, options.max_interval)
    if options.frames != ImageOptions():
        message.frames.CopyFrom(_to_image(options.frames))
    message.skip_audio = options.skip_audio


def _span(message: Duration, *, given: bool) -> timedelta | None:
    return message.ToTimedelta() if given else None


def _set_span(message: Duration, span: timedelta | None) -> None:
    if span is not None:
        message.FromTimedelta(span)
