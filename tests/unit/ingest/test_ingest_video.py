"""Key frames: shots found to the frame, and the right picture at the right time."""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass
from datetime import timedelta
from fractions import Fraction
from itertools import pairwise
from typing import Any, cast

import av
import numpy as np
import pytest

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsupportedMediaError,
)
from lookalike_ingest.decode_tasks import video as task
from lookalike_ingest.decoding import TIME, DecodeLimits, Facts
from tests.support.media import Pixels, black, moving, picture, sound, tone, video, with_cover
from tests.support.real_data import clip

LIMITS = DecodeLimits(max_duration=timedelta(minutes=1), max_pixels=200 * 200)
SHOTS = [moving(picture(seed), 15) for seed in range(4)]
FRAMES = [frame for shot in SHOTS for frame in shot]
UNTURNED = bytes.fromhex(f"00010000{'0' * 24}00010000{'0' * 24}40000000")


@dataclass
class KeyFrame:
    time: float
    shot: int
    began: float
    pixels: Pixels


def find(
    data: bytes, media_type: str = "video/mp4", limits: DecodeLimits = LIMITS, **arguments: Any
) -> tuple[Facts, list[KeyFrame]]:
    request = {"edge": 640, "interval": 0, "optional": False, "format": media_type, **arguments}
    found = [each for each in task.run(io.BytesIO(data), request, limits) if each is not None]
    return found[0][0], [
        KeyFrame(
            cast("float", facts["time"]),
            cast("int", facts["shot"]),
            cast("float", facts["shot_start"]),
            np.frombuffer(pixels, np.uint8).reshape(
                cast("int", facts["height"]), cast("int", facts["width"]), 3
            ),
        )
        for facts, pixels in found[1:]
    ]


def difference(one: Pixels, other: Pixels) -> float:
    """Return by how much two pictures differ on average, of 255."""
    return float(np.abs(one.astype(np.int16) - other).mean())


@pytest.mark.parametrize(
    ("container", "codec", "media_type", "named"),
    [
        ("mp4", "libx264", "video/mp4", "h264"),
        ("mov", "libx264", "video/quicktime", "h264"),
        ("matroska", "libx264", "video/x-matroska", "h264"),
        ("webm", "libvpx-vp9", "video/x-matroska", "vp9"),
        ("avi", "mpeg4", "video/x-msvideo", "mpeg4"),
        ("avi", "mjpeg", "video/x-msvideo", "mjpeg"),
        ("mpegts", "libx264", "video/mp2t", "h264"),
        ("flv", "flv", "video/x-flv", "flv1"),
    ],
)
def test_cuts_are_found_to_the_frame_in_every_format(
    container: str, codec: str, media_type: str, named: str
) -> None:
    about, keys = find(video(FRAMES, container, codec), media_type)
    assert about == {
        "duration": 6.0,
        "width": 160,
        "height": 120,
        "frame_rate": 10.0,
        "codec": named,
    }
    assert [(key.shot, key.began) for key in keys] == [(0, 0.0), (1, 1.5), (2, 3.0), (3, 4.5)]
    for key in keys:
        assert key.began <= key.time < key.began + 1.1
        shown = FRAMES[round(key.time * 10)]
        assert difference(key.pixels, shown) < 15, "the picture is the one of that time"
        others = [difference(key.pixels, shot[0]) for shot in SHOTS]
        assert int(np.argmin(others)) == key.shot


def test_a_frame_rate_that_varies_changes_no_time() -> None:
    steps = [(0.04, 0.1, 0.5)[number % 3] for number in range(60)]
    times = [sum(steps[:number]) for number in range(60)]
    _, keys = find(video(FRAMES, "matroska", times=times), "video/x-matroska")
    assert [round(key.began, 3) for key in keys] == [
        round(times[first], 3) for first in (0, 15, 30, 45)
    ]
    for key in keys:
        index = int(np.argmin([abs(time - key.time) for time in times]))
        assert times[index] == pytest.approx(key.time, abs=0.002)
        assert difference(key.pixels, FRAMES[index]) < 15


def test_long_shots_have_a_frame_in_every_interval() -> None:
    long = video([frame for seed in (1, 2) for frame in moving(picture(seed), 47)])
    _, keys = find(long, interval=1.0)
    times = [0.0, *(key.time for key in keys), 9.4]
    assert max(later - earlier for earlier, later in pairwise(times)) < 1.15
    assert {key.shot for key in keys} == {0, 1}
    assert len(find(long)[1]) == 2


def test_flashes_begin_no_shot() -> None:
    scene = moving(picture(1), 40)
    scene[20] = np.full_like(scene[0], 255)
    assert [key.began for key in find(video(scene))[1]] == [0.0, 2.0]
    scene = moving(picture(1), 40)
    scene[3] = np.full_like(scene[0], 255)
    assert [key.began for key in find(video(scene))[1]] == [0.0]


def test_black_frames_are_no_key_frames() -> None:
    fading = [np.asarray(picture(1) * (step / 20), np.uint8) for step in range(21)]
    frames = [black()] * 15 + fading + moving(picture(1), 10) + [black()] * 15
    _, (key,) = find(video(frames))
    assert 1.5 < key.time < 4.6
    assert key.pixels.mean() > 15
    with pytest.raises(InvalidContentError, match="every frame is black"):
        find(video([black()] * 20))
    assert find(video([black()] * 20), optional=True)[1] == []


def test_the_sharpest_of_the_first_second_is_taken() -> None:
    sharp = picture(1)
    blurred = np.asarray(sum(np.roll(sharp, step, 1) // 4 for step in range(4)), np.uint8)
    frames = [blurred] * 6 + [sharp] * 3 + [blurred] * 9
    (key,) = find(video(frames))[1]
    assert 0.6 <= key.time <= 0.8


def test_large_frames_are_scaled_and_turned_ones_set_upright() -> None:
    corners = np.zeros((120, 160, 3), np.uint8)
    corners[:40, :40], corners[:40, 120:], corners[80:, 120:] = (
        (255, 0, 0),
        (0, 255, 0),
        (0, 0, 255),
    )
    data = video([corners] * 5)
    at = data.index(UNTURNED, data.index(b"tkhd"))
    for turns, (a, b, c, d) in enumerate([(0, 1, -1, 0), (-1, 0, 0, -1), (0, -1, 1, 0)], 1):
        numbers = (a, b, 0, c, d, 0, 0, 0)
        matrix = b"".join((each << 16).to_bytes(4, "big", signed=True) for each in numbers)
        about, (key,) = find(data[:at] + matrix + data[at + 32 :], edge=80)
        expected = np.rot90(corners[::2, ::2], -turns)
        assert key.pixels.shape == expected.shape
        assert (about["width"], about["height"]) == ((120, 160) if turns % 2 else (160, 120))
        assert difference(key.pixels, expected) < 15


def test_pixels_that_are_not_square_are_made_so() -> None:
    about, (key,) = find(video([picture(1)] * 5, aspect=Fraction(2, 1)))
    assert (about["width"], about["height"]) == (320, 120)
    assert key.pixels.shape == (120, 320, 3)


def test_the_cover_of_an_album_is_no_film() -> None:
    data = with_cover(tone(1), picture(1))
    with av.open(io.BytesIO(data)) as container:
        assert len(container.streams.video) == 1
    with pytest.raises(UnsupportedMediaError, match="no pictures in it"):
        find(data)


def test_a_real_film() -> None:
    """The cuts were found by eye: the first frames of each shot."""
    about, keys = find(clip("bikes"), limits=DecodeLimits())
    assert (about["duration"], about["codec"]) == (10.0, "h264")
    assert [round(key.began * 25) for key in keys] == [0, 30, 76, 137, 187, 242]
    bunny, (key,) = find(clip("bigbuckbunny"), limits=DecodeLimits())
    assert (bunny["width"], bunny["height"]) == (1280, 720)
    assert key.pixels.shape == (360, 640, 3)


CUT = video(FRAMES, "matroska")
AVI = video(FRAMES, "avi", "mpeg4")
MP4 = video(FRAMES)
NO_FRAMES = MP4[: MP4.index(b"mdat") + 4] + bytes(len(MP4) - MP4.index(b"mdat") - 4)


@pytest.mark.parametrize(
    ("data", "media_type", "error", "words"),
    [
        (b"", "video/mp4", InvalidContentError, "header"),
        (b"\0\0\0\x18ftypmp42", "video/mp4", InvalidContentError, "header"),
        (MP4[: len(MP4) // 2], "video/mp4", InvalidContentError, "header"),
        (NO_FRAMES, "video/mp4", InvalidContentError, "header"),
        (CUT[:300], "video/x-matroska", InvalidContentError, "header"),
        (sound(tone(1), "ipod", "aac"), "video/mp4", UnsupportedMediaError, "no pictures in it"),
        (MP4, "video/x-unknown", UnsupportedMediaError, "no sound or video"),
        (video([picture(1, 320, 240)] * 3), "video/mp4", LimitExceededError, "320 x 240 pixels"),
        (
            video([picture(1)] * 3, "matroska", times=[0, 30, 62]),
            "video/x-matroska",
            LimitExceededError,
            "at most 60",
        ),
        *(
            (text, media_type, InvalidContentError, "header")
            for text in (
                b"ffconcat version 1.0\nfile /etc/passwd\n",
                b"#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n",
                b"<?xml version='1.0'?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>",
                b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\nm=video 5004 RTP/AVP 96\r\n",
                b"photo%03d.png",
            )
            for media_type in ("video/mp4", "video/x-matroska", "video/x-msvideo")
        ),
    ],
)
def test_what_is_no_video(
    data: bytes, media_type: str, error: type[LookalikeError], words: str
) -> None:
    with pytest.raises(error, match=words):
        find(data, media_type)


def claiming(data: bytes, seconds: float) -> bytes:
    """Return a Matroska file whose header tells another duration."""
    at = data.index(b"\x44\x89\x88") + 3
    return data[:at] + struct.pack(">d", seconds * 1000) + data[at + 8 :]


def test_headers_that_lie_about_the_duration() -> None:
    with pytest.raises(LimitExceededError, match=r"lasts 36000\.0 s; at most 60\.0 s"):
        find(claiming(CUT, 36_000), "video/x-matroska")
    about, keys = find(claiming(CUT, 36_000), "video/x-matroska", DecodeLimits())
    assert (about["duration"], len(keys)) == (36_000.0, 4)
    long = video([picture(1)] * 3, "matroska", times=[0, 30, 62])
    with pytest.raises(LimitExceededError, match=r"lasts 62\.0 s; at most 60\.0 s"):
        find(claiming(long, 1), "video/x-matroska")


@pytest.mark.parametrize(
    ("data", "media_type", "earliest", "latest"),
    [
        (CUT[: len(CUT) // 2], "video/x-matroska", 1.0, 5.0),
        (AVI[: len(AVI) // 2], "video/x-msvideo", 0.5, 5.0),
        (AVI[:12000] + b"\xaa" * 300 + AVI[12300:], "video/x-msvideo", 0.5, 5.0),
    ],
)
def test_damage_is_told_with_its_time(
    data: bytes, media_type: str, earliest: float, latest: float
) -> None:
    with pytest.raises(InvalidContentError) as raised:
        find(data, media_type)
    assert earliest < float(raised.value.metadata[TIME]) < latest
