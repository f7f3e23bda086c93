"""Where in an item something lies, in words."""

import pytest
from google.protobuf.duration_pb2 import Duration

from lookalike.ingest.v1.job_pb2 import JobFailure
from lookalike.type.v1.segment_pb2 import BoundingBox, Segment, SequenceSpan, TextSpan, TimeSpan
from lookalike_client.cli.places import place_of


def seconds(number: int, tenths: int = 0) -> Duration:
    return Duration(seconds=number, nanos=tenths * 100_000_000)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (JobFailure(), ""),
        (JobFailure(line=1200), "line 1,200"),
        (JobFailure(segment=Segment(page=3)), "page 3"),
        (
            JobFailure(segment=Segment(time=TimeSpan(start=seconds(62, 5), end=seconds(62, 5)))),
            "at 1:02.5",
        ),
        (
            JobFailure(segment=Segment(time=TimeSpan(start=seconds(0), end=seconds(3723, 1)))),
            "0:00.0 to 1:02:03.1",
        ),
        (
            JobFailure(segment=Segment(box=BoundingBox(x=1, y=2, width=30, height=40))),
            "30 by 40 pixels at 1, 2",
        ),
        (
            JobFailure(segment=Segment(box=BoundingBox(width=3, height=4, frame_time=seconds(5)))),
            "3 by 4 pixels at 0, 0 of the frame at 0:05.0",
        ),
        (
            JobFailure(
                line=2, segment=Segment(page=1, text=TextSpan(start_char=10, end_char=2000))
            ),
            "line 2, page 1, characters 10 to 2,000",
        ),
        (
            JobFailure(
                segment=Segment(
                    sequence=SequenceSpan(
                        record="chr1", start=0, end=900, strand=SequenceSpan.STRAND_REVERSE
                    )
                )
            ),
            "bases 0 to 900 of chr1, reverse complement",
        ),
    ],
)
def test_places(failure: JobFailure, words: str) -> None:
    assert place_of(failure) == words
