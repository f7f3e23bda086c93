"""Segments as messages of the API, and nothing else; pure."""

from lookalike.type.v1 import segment_pb2
from lookalike_ingest.segments import Box, Segment, SequenceSpan, Strand, TextSpan, TimeSpan

_STRANDS = {
    Strand.BOTH: segment_pb2.SequenceSpan.STRAND_UNSPECIFIED,
    Strand.FORWARD: segment_pb2.SequenceSpan.STRAND_FORWARD,
    Strand.REVERSE: segment_pb2.SequenceSpan.STRAND_REVERSE,
}


def to_segment(segment: Segment, index: int = 0) -> segment_pb2.Segment:
    """Return a segment with its place among the parts of its item."""
    message = segment_pb2.Segment(index=index, page=segment.page)
    match segment.span:
        case TimeSpan(start, end):
            message.time.start.FromTimedelta(start)
            message.time.end.FromTimedelta(end)
        case Box() as box:
            message.box.CopyFrom(_to_box(box))
        case TextSpan() as span:
            message.text.CopyFrom(
                segment_pb2.TextSpan(
                    start_byte=span.start_byte,
                    end_byte=span.end_byte,
                    start_char=span.start_char,
                    end_char=span.end_char,
                )
            )
        case SequenceSpan(record, start, end, strand):
            message.sequence.CopyFrom(
                segment_pb2.SequenceSpan(
                    record=record, start=start, end=end, strand=_STRANDS[strand]
                )
            )
    return message


def _to_box(box: Box) -> segment_pb2.BoundingBox:
    message = segment_pb2.BoundingBox(x=box.x, y=box.y, width=box.width, height=box.height)
    if box.frame_time is not None:
        message.frame_time.FromTimedelta(box.frame_time)
    return message
