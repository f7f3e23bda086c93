"""Sounds and videos through the whole service: entities, segments, failures at their time."""

from __future__ import annotations

import hashlib
from datetime import timedelta

import grpc
import numpy as np
import pytest
from pydantic import ByteSize

from lookalike.encoder.v1 import encoder_service_pb2
from lookalike.ingest.v1 import job_pb2
from lookalike.search.v1 import collection_pb2, entity_pb2
from lookalike.type.v1 import (
    content_pb2,
    segment_pb2,
    server_info_service_pb2,
    server_info_service_pb2_grpc,
)
from lookalike_common.status import error_from_status
from lookalike_ingest.settings import IngestSettings, MediaSettings
from tests.integration.ingest.conftest import Suite, running_ingest
from tests.support.ingest_peers import DETECTOR, Peers
from tests.support.media import black, moving, picture, silence, sound, tone, video, wav
from tests.support.pictures import png
from tests.support.zips import make_zip

Field = collection_pb2.AttributeField
AUDIO = content_pb2.MODALITY_AUDIO


@pytest.fixture
def peers() -> Peers:
    return Peers(modalities=(AUDIO,))


def spans(suite: Suite, item: str) -> list[tuple[float, float]]:
    """Return the stretches of time that an item's entities stand for, in the order of parts."""
    return [
        (
            each.segment.time.start.ToTimedelta().total_seconds(),
            each.segment.time.end.ToTimedelta().total_seconds(),
        )
        for each in parts(suite, item)
    ]


def parts(suite: Suite, item: str) -> list[entity_pb2.Entity]:
    found = [entity for entity in suite.peers.entities.values() if entity.item == item]
    return sorted(found, key=lambda entity: entity.segment.index)


async def test_sounds_become_windows(suite: Suite) -> None:
    suite.peers.attributes = {
        "duration": Field.TYPE_DOUBLE,
        "codec": Field.TYPE_STRING,
        "channels": Field.TYPE_BOOL,
    }
    music = np.concatenate([tone(4), silence(7), tone(1)])
    for name, data in {
        "music.flac": sound(music, "flac", "flac"),
        "call.m4a": sound(tone(1), "ipod", "aac"),
        "silent.wav": wav(silence(2)),
        "cut.wav": wav(tone(1))[:1000],
        "broken.aac": sound(tone(3), "adts", "aac")[:20000],
        "list.mp3": b"#EXTM3U\nfile:///etc/passwd\n",
        "photo.png": png(1),
    }.items():
        (suite.root / name).write_bytes(data)
    splitter = job_pb2.Splitter()
    splitter.audio.window.FromTimedelta(timedelta(seconds=2))
    splitter.audio.hop.FromTimedelta(timedelta(seconds=2))
    done = await suite.run_files(splitter=splitter)
    assert (done.counts.created, done.counts.failed, done.counts.skipped) == (2, 4, 1)
    assert spans(suite, "music.flac") == [(0, 2), (2, 4), (10, 12)]
    assert [each.segment.index for each in parts(suite, "music.flac")] == [0, 1, 2]
    assert dict(parts(suite, "music.flac")[2].attributes) == {"duration": 12.0, "codec": "flac"}
    assert len(spans(suite, "call.m4a")) == 1
    failures = {each.item: each for each in await suite.failures(done)}
    assert {
        name: (each.step, error_from_status(each.error).reason) for name, each in failures.items()
    } == {
        "silent.wav": ("decode", "INVALID_CONTENT"),
        "cut.wav": ("decode", "INVALID_CONTENT"),
        "broken.aac": ("decode", "INVALID_CONTENT"),
        "list.mp3": ("decode", "UNSUPPORTED_MEDIA"),
    }
    moment = failures["broken.aac"].segment.time
    assert moment.start == moment.end
    assert 0 < moment.start.ToTimedelta().total_seconds() < 3
    assert "broken.aac" not in suite.peers.items(), "what was written before the damage is gone"
    again = await suite.run_files(splitter=splitter)
    assert (again.counts.unchanged, again.counts.failed) == (2, 4)
    splitter.audio.hop.FromTimedelta(timedelta(seconds=1))
    other = await suite.run_files(splitter=splitter)
    assert other.counts.updated == 2
    assert spans(suite, "music.flac") == [(0, 2), (1, 3), (2, 4), (3, 5), (10, 12)]


async def test_windows_are_those_of_the_encoder(suite: Suite) -> None:
    (suite.root / "long.wav").write_bytes(wav(tone(25, rate=8000), 8000))
    await suite.run_files()
    assert spans(suite, "long.wav") == [(0, 10), (5, 15), (10, 20), (15, 25)]
    given = content_pb2.Content(audio=wav(tone(1)))
    source = job_pb2.ItemsSource(items=[job_pb2.SourceItem(content=given, item="given")])
    await suite.finish(
        await suite.create(job_pb2.Job(collection="collections/photos", items=source))
    )
    assert spans(suite, "given") == [(0, 1)]
    splitter = job_pb2.Splitter()
    splitter.audio.window.FromTimedelta(timedelta(minutes=2))
    done = await suite.run_files(splitter=splitter)
    (failure,) = await suite.failures(done)
    assert failure.error.code == grpc.StatusCode.INVALID_ARGUMENT.value[0]
    assert error_from_status(failure.error).reason == "LIMIT_EXCEEDED"
    assert error_from_status(failure.error).field == "job.splitter.audio.window"


async def test_videos_become_key_frames_and_windows_of_sound(suite: Suite) -> None:
    suite.peers.modalities = (AUDIO, content_pb2.MODALITY_IMAGE)
    suite.peers.attributes = {
        "duration": Field.TYPE_DOUBLE,
        "width": Field.TYPE_INT,
        "codec": Field.TYPE_STRING,
    }
    shots = [frame for seed in range(3) for frame in moving(picture(seed), 10)]
    for name, data in {
        "talk.mp4": video(shots, soundtrack=tone(3)),
        "mute.mkv": video(shots, "matroska"),
        "quiet.mov": video(shots, "mov", soundtrack=silence(3)),
        "radio.mp4": sound(tone(2), "mp4", "aac"),
        "black.mp4": video([black()] * 10),
        "cut.mkv": (whole := video(shots, "matroska"))[: len(whole) * 2 // 3],
        "list.mp4": b"ffconcat version 1.0\nfile /etc/passwd\n",
        "photo.png": png(1),
    }.items():
        (suite.root / name).write_bytes(data)
    done = await suite.run_files()
    assert (done.counts.created, done.counts.failed, done.counts.skipped) == (5, 3, 0)
    instants = [start for start, end in spans(suite, "talk.mp4") if start == end]
    assert len(instants) == 3
    assert all(shot <= moment < shot + 1 for shot, moment in enumerate(instants))
    assert spans(suite, "talk.mp4")[3] == pytest.approx((0, 3), abs=0.05)
    assert [each.segment.index for each in parts(suite, "talk.mp4")] == [0, 1, 2, 3]
    assert dict(parts(suite, "talk.mp4")[1].attributes) == {
        "duration": pytest.approx(3, abs=0.05),
        "width": 160,
        "codec": "h264",
    }
    assert len(parts(suite, "mute.mkv")) == len(parts(suite, "quiet.mov")) == 3
    assert len(parts(suite, "radio.mp4")) == 1
    failures = {each.item: each for each in await suite.failures(done)}
    assert {name: error_from_status(each.error).reason for name, each in failures.items()} == {
        "black.mp4": "INVALID_CONTENT",
        "cut.mkv": "INVALID_CONTENT",
        "list.mp4": "UNSUPPORTED_MEDIA",
    }
    assert failures["cut.mkv"].segment.time.start.ToTimedelta() > timedelta(seconds=1)
    assert (await suite.run_files()).counts.unchanged == 5


async def test_what_is_taken_of_a_video_is_what_the_collection_takes(suite: Suite) -> None:
    shots = [frame for seed in range(2) for frame in moving(picture(seed), 10)]
    (suite.root / "talk.mp4").write_bytes(video(shots, soundtrack=tone(2)))
    (suite.root / "mute.mp4").write_bytes(video(shots))
    done = await suite.run_files()
    (window,) = spans(suite, "talk.mp4")
    assert window == pytest.approx((0, 2), abs=0.05)
    (failure,) = await suite.failures(done)
    assert (failure.item, error_from_status(failure.error).reason) == (
        "mute.mp4",
        "UNSUPPORTED_MEDIA",
    )


async def test_videos_can_be_split_more_finely_and_without_sound(suite: Suite) -> None:
    suite.peers.modalities = (AUDIO, content_pb2.MODALITY_IMAGE)
    shots = [frame for seed in range(2) for frame in moving(picture(seed), 10)]
    (suite.root / "talk.mp4").write_bytes(video(shots, soundtrack=tone(2)))
    splitter = job_pb2.Splitter(video=job_pb2.VideoSplitter(skip_audio=True))
    splitter.video.max_interval.FromTimedelta(timedelta(seconds=0.5))
    await suite.run_files(splitter=splitter)
    found = spans(suite, "talk.mp4")
    assert len(found) >= 4
    assert all(start == end for start, end in found)
    assert found == sorted(found)


async def test_objects_and_tiles_of_the_frames_of_a_video(suite: Suite) -> None:
    suite.peers.modalities = (content_pb2.MODALITY_IMAGE,)
    suite.peers.attributes = {"label": Field.TYPE_STRING}
    box = segment_pb2.BoundingBox(x=10, y=20, width=30, height=40)
    suite.peers.objects = [encoder_service_pb2.Detection(label="cat", score=0.5, box=box)]
    (suite.root / "film.mp4").write_bytes(
        video([picture(seed, 1280, 960) for seed in (1, 2) for _ in range(10)])
    )
    image = job_pb2.ImageSplitter(detector=DETECTOR, tile_pixels=1000, parts_only=True)
    done = await suite.run_files(
        splitter=job_pb2.Splitter(video=job_pb2.VideoSplitter(frames=image))
    )
    assert done.counts.created == 1
    found = parts(suite, "film.mp4")
    assert [
        (each.segment.box.x, each.segment.box.y, each.segment.box.width, each.segment.box.height)
        for each in found
    ] == [(20, 40, 60, 80), (0, 0, 1000, 960), (280, 0, 1000, 960)] * 2
    assert [each.attributes["label"] for each in found if "label" in each.attributes] == ["cat"] * 2
    moments = [each.segment.box.frame_time.ToTimedelta().total_seconds() for each in found]
    assert moments[0] == moments[2] < 1 <= moments[3] == moments[5]


async def test_limits_of_sounds_at_their_edges(settings: IngestSettings, peers: Peers) -> None:
    """What is larger than memory is streamed; bytes and seconds are counted exactly."""
    exact = wav(tone(3, rate=8000), 8000)
    media = MediaSettings(
        max_file_bytes=ByteSize(10_000),
        max_stream_bytes=ByteSize(len(exact)),
        max_duration=timedelta(seconds=3),
    )
    async with running_ingest(settings.model_copy(update={"media": media}), peers) as suite:
        (suite.root / "exact.wav").write_bytes(exact)
        (suite.root / "longer.wav").write_bytes(exact + b"\0")
        (suite.root / "slower.flac").write_bytes(sound(tone(3.1), "flac", "flac"))
        (suite.root / "sounds.zip").write_bytes(make_zip({"exact.wav": exact, "exact.png": exact}))
        done = await suite.run_files()
        assert len(parts(suite, "exact.wav")) == 1
        assert len(parts(suite, "sounds.zip!/exact.wav")) == 1
        failures = {each.item: each.error for each in await suite.failures(done)}
        assert {name: error_from_status(each).reason for name, each in failures.items()} == {
            "longer.wav": "LIMIT_EXCEEDED",
            "slower.flac": "LIMIT_EXCEEDED",
            "sounds.zip!/exact.png": "LIMIT_EXCEEDED",
        }
        info = await server_info_service_pb2_grpc.ServerInfoServiceStub(
            suite.channel
        ).GetServerInfo(server_info_service_pb2.GetServerInfoRequest())
        assert info.limits["max_media_seconds"] == 3
        assert info.limits["max_stream_bytes"] == len(exact)
        asset = parts(suite, "exact.wav")[0].asset
        assert asset == f"assets/{hashlib.sha256(exact).hexdigest()}"
