"""Where in an item something lies, in words."""

from datetime import timedelta

from lookalike.ingest.v1 import job_pb2
from lookalike.type.v1 import segment_pb2

_MINUTE, _HOUR = 60, 3600


def place_of(failure: job_pb2.JobFailure) -> str:
    """The line, page, time, box or stretch at which an item failed; empty for the whole item."""
    line = f"line {failure.line:,}" if failure.line else ""
    return ", ".join(part for part in (line, segment_in_words(failure.segment)) if part)


def segment_in_words(segment: segment_pb2.Segment) -> str:
    """What part of an item a segment means; empty for the whole item."""
    page = f"page {segment.page}" if segment.page else ""
    return ", ".join(part for part in (page, _span(segment)) if part)


def _span(segment: segment_pb2.Segment) -> str:
    match segment.WhichOneof("span"):
        case "time":
            return _time(segment.time)
        case "box":
            return _box(segment.box)
        case "text":
            return f"characters {segment.text.start_char:,} to {segment.text.end_char:,}"
        case "sequence":
            return _bases(segment.sequence)
        case _:
            return ""


def _time(span: segment_pb2.TimeSpan) -> str:
    start, end = span.start.ToTimedelta(), span.end.ToTimedelta()
    return f"at {_clock(start)}" if start == end else f"{_clock(start)} to {_clock(end)}"


def _clock(moment: timedelta) -> str:
    """`1:02:03.4`, without hours where there are none."""
    seconds = moment.total_seconds()
    whole, tenths = divmod(round(seconds * 10), 10)
    hours, minutes = whole // _HOUR, whole % _HOUR // _MINUTE
    shown = f"{hours}:{minutes:02}" if hours else f"{minutes}"
    return f"{shown}:{whole % _MINUTE:02}.{tenths}"


def _box(box: segment_pb2.BoundingBox) -> str:
    shown = f"{box.width} by {box.height} pixels at {box.x}, {box.y}"
    if box.HasField("frame_time"):
        return f"{shown} of the frame at {_clock(box.frame_time.ToTimedelta())}"
    return shown


def _bases(span: segment_pb2.SequenceSpan) -> str:
    record = f" of {span.record}" if span.record else ""
    reverse = segment_pb2.SequenceSpan.STRAND_REVERSE
    strand = ", reverse complement" if span.strand == reverse else ""
    return f"bases {span.start:,} to {span.end:,}{record}{strand}"
