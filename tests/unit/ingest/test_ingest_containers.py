"""Containers: compressed or not, in archives or not, read at any place in any order."""

from __future__ import annotations

import gzip
import hashlib
import io
import random
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    SourceChangedError,
    UnsafeArchiveError,
)
from lookalike_ingest.adapters.zstd import unzstd
from lookalike_ingest.places import (
    AssetPlace,
    Compression,
    ContainerPlace,
    FilePlace,
    MemberPlace,
    SlicePlace,
)
from lookalike_ingest.sources.containers import Containers, detect_compression
from lookalike_ingest.sources.cursors import Cursors
from lookalike_ingest.sources.local_cache import LocalCache
from lookalike_ingest.sources.streams import CountingReader, gunzip, reader, window
from lookalike_ingest.sources.zip_directory import ArchiveLimits, read_members
from tests.support.containers import containers_in
from tests.support.zips import make_zip

DATA = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(20_000))
"""640,000 bytes that cannot be packed."""
PACK: dict[Compression, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    "gzip": gzip.compress,
    "zstd": lambda data: zstandard.ZstdCompressor().compress(data),
}
UNPACK: dict[Compression, Callable[[CountingReader], Iterator[bytes]]] = {
    "gzip": gunzip,
    "zstd": unzstd,
}
COMPRESSED = sorted(UNPACK)
ALL = sorted(PACK)


def unpack(data: bytes, compression: Compression) -> bytes:
    return b"".join(UNPACK[compression](CountingReader(io.BytesIO(data))))


def piece(container: ContainerPlace, compression: Compression, at: int, length: int) -> SlicePlace:
    return SlicePlace(container, compression, at, length, "piece")


def read(containers: Containers, place: ContainerPlace | SlicePlace) -> bytes:
    with containers.open("", place) as file:
        return file.read()


def member_of(path: Path, index: int = 0) -> MemberPlace:
    with path.open("rb") as file:
        member = list(read_members(file, ArchiveLimits()))[index]
    return MemberPlace(
        FilePlace(str(path)),
        path.stat().st_size,
        member.name,
        member.header_offset,
        member.compressed_size,
        member.size,
        member.method,
        member.crc,
    )


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=3000), min_size=1, max_size=4), st.sampled_from(COMPRESSED))
def test_several_packed_files_in_a_row_are_one(
    parts: list[bytes], compression: Compression
) -> None:
    """As `cat a.gz b.gz` makes them; tapes also leave zeros behind."""
    packed = b"".join(PACK[compression](part) for part in parts)
    assert unpack(packed, compression) == b"".join(parts)
    if compression == "gzip":
        assert unpack(packed + bytes(1000), compression) == b"".join(parts)


@pytest.mark.parametrize("compression", COMPRESSED)
def test_large_ones_come_in_pieces(compression: Compression) -> None:
    data = bytes(50 << 20)
    counting = CountingReader(io.BytesIO(PACK[compression](data)))
    sizes = [len(each) for each in UNPACK[compression](counting)]
    assert sum(sizes) == len(data)
    assert max(sizes) <= 16 << 20


@settings(max_examples=200, deadline=None)
@given(st.data(), st.sampled_from(COMPRESSED))
def test_what_is_cut_or_damaged_is_refused(data: st.DataObject, compression: Compression) -> None:
    """Our own errors, never fewer bytes without a word."""
    packed = bytearray(
        gzip.compress(DATA[:5000])
        if compression == "gzip"
        else zstandard.ZstdCompressor(write_checksum=True).compress(DATA[:5000])
    )
    if data.draw(st.booleans()):
        del packed[data.draw(st.integers(1, len(packed) - 1)) :]
    else:
        packed[data.draw(st.integers(0, len(packed) - 1))] ^= data.draw(st.integers(1, 255))
    try:
        unpacked = unpack(bytes(packed), compression)
    except (InvalidContentError, LimitExceededError):
        return
    assert unpacked in {DATA[:5000], b""}  # nothing where it became a frame to be skipped


def test_a_frame_that_wants_too_much_memory() -> None:
    parameters = zstandard.ZstdCompressionParameters(window_log=28, compression_level=1)
    writer = zstandard.ZstdCompressor(compression_params=parameters).compressobj()
    packed = writer.compress(DATA) + writer.flush()
    with pytest.raises(LimitExceededError, match="memory"):
        unpack(packed, "zstd")


@pytest.mark.parametrize("compression", COMPRESSED)
def test_bombs_end_early(compression: Compression, tmp_path: Path) -> None:
    bomb = tmp_path / "bomb"
    bomb.write_bytes(PACK[compression](bytes(64 << 20)))
    with containers_in(tmp_path) as containers:
        stream = containers.open_stream("", FilePlace(str(bomb)), compression)
        with pytest.raises(UnsafeArchiveError, match="200 times"), stream:
            stream.read()
    bomb.write_bytes(PACK[compression](DATA))
    with containers_in(tmp_path, archives=ArchiveLimits(total_bytes=len(DATA) - 1)) as containers:
        stream = containers.open_stream("", FilePlace(str(bomb)), compression)
        with pytest.raises(LimitExceededError, match="unpacks to more"), stream:
            stream.read()


@pytest.mark.parametrize("compression", ALL)
@pytest.mark.parametrize("kind", ["file", "asset", "member"])
def test_pieces_in_any_order(kind: str, compression: Compression, tmp_path: Path) -> None:
    packed = PACK[compression](DATA)
    (tmp_path / "x").write_bytes(make_zip({"x": packed}) if kind == "member" else packed)
    container: ContainerPlace = FilePlace(str(tmp_path / "x"))
    if kind != "file":
        container = AssetPlace("x") if kind == "asset" else member_of(tmp_path / "x")
    chance = random.Random(7)
    starts = [chance.randrange(len(DATA)) for _ in range(30)] + [0, len(DATA)]
    with containers_in(tmp_path, memory_bytes=1000) as containers:
        for start in starts:
            length = min(chance.choice([0, 1, 999, 5000, 50_000]), len(DATA) - start)
            assert (
                read(containers, piece(container, compression, start, length))
                == (DATA[start : start + length])
            )
        assert read(containers, piece(container, compression, 100, -1)) == DATA[100:]
        with pytest.raises((SourceChangedError, InvalidContentError)):
            read(containers, piece(container, compression, len(DATA) - 10, 11))
        with pytest.raises((SourceChangedError, InvalidContentError)):
            read(containers, piece(container, compression, len(DATA) + 1, 0))


def test_pieces_can_be_searched_in(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(DATA)
    with (
        containers_in(tmp_path) as containers,
        containers.open("", piece(FilePlace(str(tmp_path / "x")), "", 1000, 500)) as file,
    ):
        assert file.seek(-10, io.SEEK_END) == 490
        assert file.read(100) == DATA[1490:1500]
        assert file.seek(5) == 5
        file.seek(5, io.SEEK_CUR)
        assert file.read(3) == DATA[1010:1013]
    with window(io.BytesIO(DATA), 5, 10) as alone:
        assert alone.read() == DATA[5:15]


def test_neighbours_share_one_stream_in_whatever_order_they_come() -> None:
    cursors = Cursors(kept_bytes=100_000)
    starts = list(range(0, len(DATA) - 1000, 1000))
    chance = random.Random(3)

    def fetch(start: int) -> bool:
        with cursors.at("key", lambda: reader(iter([DATA])), start) as cursor:
            return cursor.read(1000) == DATA[start : start + 1000]

    for first in range(0, len(starts), 32):
        batch = starts[first : first + 32]
        chance.shuffle(batch)
        with ThreadPoolExecutor(4) as threads:
            assert all(threads.map(fetch, batch))
    assert cursors.opened == 1


def test_what_lies_too_far_behind_is_read_anew() -> None:
    cursors = Cursors(kept_bytes=1000)
    chance = random.Random(5)
    for _ in range(50):
        start = chance.randrange(len(DATA) - 500)
        with cursors.at("key", lambda: reader(iter([DATA])), start) as cursor:
            assert cursor.read(500) == DATA[start : start + 500]
    assert 1 < cursors.opened < 50


def test_few_streams_are_kept_and_none_that_failed() -> None:
    closed: list[int] = []

    def opener(number: int) -> Callable[[], io.BufferedReader]:
        def pieces() -> Iterator[bytes]:
            try:
                yield DATA
            finally:
                closed.append(number)

        return lambda: reader(pieces())  # type: ignore[return-value] # it is one

    cursors = Cursors(most=2)
    for number in range(4):
        with cursors.at(number, opener(number), 10) as cursor:
            cursor.read(10)
    assert closed == [0, 1]
    with pytest.raises(RuntimeError), cursors.at(3, opener(3), 20):
        raise RuntimeError
    assert closed == [0, 1, 3]
    cursors.close()
    assert closed == [0, 1, 3, 2]


@pytest.mark.parametrize("compression", ALL)
def test_a_container_that_changed(compression: Compression, tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(PACK[compression](DATA))
    with containers_in(tmp_path) as containers:
        place = piece(FilePlace(str(path)), compression, 5, 10)
        listed = replace(place, version=containers.version("", place.container))
        assert read(containers, listed) == DATA[5:15]
        path.write_bytes(PACK[compression](DATA[1:]))
        with pytest.raises(SourceChangedError, match="changed"):
            read(containers, listed)
        path.unlink()
        with pytest.raises(SourceChangedError):
            read(containers, listed)
        assert containers.version("", AssetPlace("any")) == ""


def test_a_member_of_an_archive_that_changed(tmp_path: Path) -> None:
    path = tmp_path / "x.zip"
    path.write_bytes(make_zip({"a": b"first", "b": b"second"}))
    second = member_of(path, 1)
    with containers_in(tmp_path) as containers:
        assert read(containers, second) == b"second"
        path.write_bytes(make_zip({"a": b"first", "b": b"second", "c": b""}))
        with pytest.raises(SourceChangedError):
            read(containers, second)


def test_what_is_large_lies_on_the_disk_and_not_in_memory(tmp_path: Path) -> None:
    (tmp_path / "x.zip").write_bytes(make_zip({"a": DATA}))
    place = member_of(tmp_path / "x.zip")
    with containers_in(tmp_path, memory_bytes=len(DATA) - 1) as containers:
        with containers.open("", place) as file, containers.open("", place) as again:
            assert file.fileno() != again.fileno()
            assert file.read() == again.read() == DATA
        assert list((tmp_path / ".cache").rglob("*"))
    assert not [each for each in (tmp_path / ".cache").rglob("*") if each.is_file()]
    with containers_in(tmp_path, memory_bytes=len(DATA)) as containers:
        assert isinstance(containers.open("", place), io.BytesIO)


def test_an_item_larger_than_allowed_ends_while_it_is_unpacked(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(gzip.compress(DATA))
    place = piece(FilePlace(str(tmp_path / "x")), "gzip", 0, -1)
    with (
        containers_in(tmp_path, archives=ArchiveLimits(member_bytes=1000)) as containers,
        pytest.raises(LimitExceededError, match="more than 1000"),
    ):
        read(containers, place)


def test_kinds_of_compression_are_told_by_the_bytes() -> None:
    for compression, pack in PACK.items():
        file = io.BytesIO(pack(b"data"))
        assert detect_compression(file) == compression
        assert file.tell() == 0


def test_the_cache_stays_within_its_bytes(tmp_path: Path) -> None:
    cache = LocalCache(tmp_path, 1000)
    made: list[str] = []

    def get(key: str, size: int) -> bytes:
        def pieces() -> Iterator[bytes]:
            made.append(key)
            yield key.encode() * size

        with cache.open(key, size, pieces) as file:
            return file.read()

    for key in "ababcb":
        assert get(key, 400) == key.encode() * 400
    assert made == ["a", "b", "c"]
    assert cache.used_bytes == 800
    assert get("a", 400) == b"a" * 400
    assert made == ["a", "b", "c", "a"]
    with pytest.raises(LimitExceededError):
        get("d", 1001)
    with pytest.raises(LimitExceededError):
        cache.open("e", -1, lambda: iter([b"x" * 600] * 2))
    assert cache.used_bytes <= 1000
    assert len([each for each in tmp_path.rglob("*") if each.is_file()]) == 3
    cache.close()


def test_the_cache_of_a_process_that_died_is_removed_and_no_other(tmp_path: Path) -> None:
    living = LocalCache(tmp_path, 1000)
    living.open("key", 1, lambda: iter([b"x"])).close()
    dead = tmp_path / "dead"
    dead.mkdir()
    (dead / "owner").touch()
    (dead / "file").write_bytes(b"x")
    (tmp_path / "half").mkdir()
    second = LocalCache(tmp_path, 1000)
    assert len(list(tmp_path.iterdir())) == 2
    with living.open("key", 1, lambda: iter([])) as file:
        assert file.read() == b"x"
    living.close()
    second.close()
    assert not list(tmp_path.iterdir())
