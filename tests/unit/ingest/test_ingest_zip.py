"""The zip reader against the standard library's writer, and against archives that lie."""

from __future__ import annotations

import io
import zipfile
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lookalike_common.errors import (
    InvalidContentError,
    LimitExceededError,
    LookalikeError,
    UnsafeArchiveError,
    UnsupportedMediaError,
)
from lookalike_ingest.places import FilePlace, MemberPlace
from lookalike_ingest.sources.member_names import is_archive_name
from lookalike_ingest.sources.zip_directory import ArchiveLimits, Member, read_members
from lookalike_ingest.sources.zip_member import read_member
from tests.support.zips import assemble, claiming, entry, local, make_zip, overlapping, raw_deflate

LIMITS = ArchiveLimits()
NAMES = st.text(
    st.characters(exclude_characters="/\\:\0", exclude_categories=["Cs"]), min_size=1, max_size=20
).filter(lambda name: name not in {".", ".."} and not is_archive_name(name))


def listed(archive: bytes, limits: ArchiveLimits = LIMITS) -> list[Member]:
    return list(read_members(io.BytesIO(archive), limits))


def unpacked(archive: bytes, member: Member) -> bytes:
    place = MemberPlace(
        FilePlace(""),
        len(archive),
        member.name,
        member.header_offset,
        member.compressed_size,
        member.size,
        member.method,
        member.crc,
    )
    return read_member(io.BytesIO(archive), place)


@settings(max_examples=150, deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=2000), max_size=8),
    st.sampled_from([zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED]),
    st.binary(max_size=50),
)
def test_it_reads_what_zipfile_wrote(members: dict[str, bytes], method: int, prefix: bytes) -> None:
    """Also with something in front of the archive, as self-extracting ones have."""
    archive = prefix + make_zip(members, method=method)
    found = listed(archive)
    assert not [member for member in found if member.problem]
    assert {member.name: unpacked(archive, member) for member in found} == members


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_damaged_archive_is_refused_or_read_right(data: st.DataObject) -> None:
    """Whatever is flipped: our own errors, never another one, and never wrong bytes."""
    members = {"a.png": b"first" * 50, "b.png": bytes(range(256))}
    archive = bytearray(make_zip(members))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(archive) - 1))
        archive[position] ^= data.draw(st.integers(1, 255))
    del archive[data.draw(st.integers(len(archive) // 2, len(archive))) :]
    try:
        for member in listed(bytes(archive)):
            if member.problem is None:
                assert unpacked(bytes(archive), member) in members.values()
    except LookalikeError:
        pass


def test_long_archives_are_read_too() -> None:
    """With the records that archives over 4 GiB or 65,535 members have."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for number in range(66_000):
            archive.writestr(zipfile.ZipInfo(f"{number}"), b"")
        with archive.open("long", "w", force_zip64=True) as member:
            member.write(b"data")
    found = listed(file.getvalue())
    assert len(found) == 66_001
    assert unpacked(file.getvalue(), found[-1]) == b"data"


@pytest.mark.parametrize(
    "name",
    ["../x.png", "a/../../x.png", "/x.png", "C:\\x.png", "a\\..\\..\\x.png", "..", "\\\\host\\x"],
)
def test_names_that_point_outside(name: str) -> None:
    (member,) = listed(make_zip({name: b"x"}))
    assert isinstance(member.problem, UnsafeArchiveError)
    assert member.name == name


def test_a_colon_alone_makes_no_drive() -> None:
    (member,) = listed(make_zip({"12:30.png": b"x"}))
    assert member.problem is None


def test_what_cannot_be_read_is_said_of_the_member_alone() -> None:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("good.png", b"good")
        archive.writestr("packed.png", b"x", zipfile.ZIP_BZIP2)
        archive.writestr("inner.zip", b"PK")
        archive.writestr("folder/", b"")
    found = {member.name: member.problem for member in listed(file.getvalue())}
    assert found.pop("good.png") is None
    assert isinstance(found.pop("packed.png"), UnsupportedMediaError)
    assert isinstance(found.pop("inner.zip"), UnsafeArchiveError)
    assert not found


def test_encrypted_members() -> None:
    archive = bytearray(make_zip({"a.png": b"secret"}))
    directory = archive.rindex(b"PK\x01\x02")
    archive[directory + 8] |= 1
    (member,) = listed(bytes(archive))
    assert isinstance(member.problem, UnsupportedMediaError)


def test_limits_of_whole_archives() -> None:
    archive = make_zip({f"{n}.png": b"x" * 1000 for n in range(10)})
    with pytest.raises(LimitExceededError, match="more than 9 members"):
        listed(archive, replace(LIMITS, members=9))
    with pytest.raises(LimitExceededError, match="unpacks to 10000 bytes"):
        listed(archive, replace(LIMITS, total_bytes=9999))
    assert all(
        isinstance(member.problem, LimitExceededError)
        for member in listed(archive, replace(LIMITS, member_bytes=999))
    )


def test_entries_that_overlap() -> None:
    with pytest.raises(UnsafeArchiveError, match="overlap"):
        listed(overlapping(b"x" * 1000, 2))


def test_entries_that_reach_into_the_directory() -> None:
    packed = raw_deflate(b"x" * 1000)
    long = packed + b"y" * 500
    archive = assemble([local("a", packed)], [entry("a", long, 1000, 0, 0)])
    with pytest.raises(UnsafeArchiveError, match="overlap"):
        listed(archive)


@pytest.mark.parametrize("size", [0, 1, 999])
def test_a_member_never_unpacks_to_more_than_it_declares(size: int) -> None:
    archive = claiming(b"x" * 1000, name="a.png", size=size)
    (member,) = listed(archive)
    with pytest.raises(UnsafeArchiveError, match="more than"):
        unpacked(archive, member)


def test_a_bomb_is_refused_before_it_is_unpacked() -> None:
    archive = claiming(b"\0" * (8 << 20), name="a.png", size=8 << 20)
    (member,) = listed(archive)
    assert isinstance(member.problem, UnsafeArchiveError)


def test_a_member_that_ends_early_or_was_changed() -> None:
    archive = claiming(b"x" * 1000, name="a.png", size=1001)
    (member,) = listed(archive)
    with pytest.raises(InvalidContentError, match="truncated"):
        unpacked(archive, member)
    good = make_zip({"a.png": b"x" * 1000})
    (member,) = listed(good)
    with pytest.raises(InvalidContentError, match="checksum"):
        unpacked(good, replace(member, crc=member.crc ^ 1))


@pytest.mark.parametrize("data", [b"", b"PK\x03\x04", b"x" * 100, b"PK\x05\x06" + b"\xff" * 18])
def test_what_is_no_archive(data: bytes) -> None:
    with pytest.raises(LookalikeError):
        listed(data)
