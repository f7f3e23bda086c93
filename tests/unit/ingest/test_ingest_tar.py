"""The tar reader against the standard library's writer, and against archives that lie."""

from __future__ import annotations

import io
import tarfile
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
from lookalike_ingest.sources.streams import reader
from lookalike_ingest.sources.tar import TarMember, TarReader, is_tar
from lookalike_ingest.sources.zip_directory import ArchiveLimits
from tests.support.tars import make_tar, special

LIMITS = ArchiveLimits()
FORMATS = [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]
NAMES = st.text(
    st.characters(exclude_characters="/\\:\0", exclude_categories=["Cs"]), min_size=1, max_size=120
).filter(lambda name: name not in {".", ".."} and "." not in name)


def listed(
    archive: bytes, limits: ArchiveLimits = LIMITS, *, stream: bool = False
) -> list[TarMember]:
    file = reader(iter([archive])) if stream else io.BytesIO(archive)
    return list(TarReader(file, limits).members())


def problems(archive: bytes, limits: ArchiveLimits = LIMITS) -> dict[str, type[LookalikeError]]:
    return {
        member.name: type(member.problem)
        for member in listed(archive, limits)
        if member.problem is not None
    }


@settings(max_examples=100, deadline=None)
@given(
    st.dictionaries(NAMES, st.binary(max_size=2000), max_size=6),
    st.sampled_from([tarfile.GNU_FORMAT, tarfile.PAX_FORMAT]),
    st.booleans(),
)
def test_it_reads_what_tarfile_wrote(
    members: dict[str, bytes], tar_format: int, stream: bool
) -> None:
    """Names of any length and alphabet; forwards only, or with leaps over what nobody asked for."""
    archive = make_tar(members, tar_format=tar_format)
    found = listed(archive, stream=stream)
    assert not [member for member in found if member.problem]
    assert {each.name: archive[each.offset : each.offset + each.size] for each in found} == members


@pytest.mark.parametrize("tar_format", FORMATS)
def test_every_format_there_is(tar_format: int) -> None:
    folder = special("folder", tarfile.DIRTYPE)
    archive = make_tar({"a/b": b"x" * 513, "c": b""}, others=[folder], tar_format=tar_format)
    assert is_tar(archive[:512])
    assert [(member.name, member.size) for member in listed(archive)] == [("a/b", 513), ("c", 0)]


def test_members_can_be_read_while_they_are_listed() -> None:
    archive = make_tar({"a": b"first", "b": b"second" * 1000, "c": b"third"})
    read = TarReader(reader(iter([archive])), LIMITS)
    taken = {}
    for member in read.members():
        if member.name != "b":
            taken[member.name] = read.read(100) + read.read(100)
        else:
            assert read.read(6) == b"second"  # the rest is passed over
    assert taken == {"a": b"first", "c": b"third"}


@settings(max_examples=300, deadline=None)
@given(st.data(), st.booleans())
def test_a_damaged_archive_is_refused_or_read_right(data: st.DataObject, stream: bool) -> None:
    """Whatever is flipped or cut: our own errors, never another one, never outside of the file."""
    archive = bytearray(make_tar({"a": b"first" * 200, "long" * 40: bytes(range(256))}))
    for _ in range(data.draw(st.integers(1, 3))):
        archive[data.draw(st.integers(0, 4000))] ^= data.draw(st.integers(1, 255))
    del archive[data.draw(st.integers(0, len(archive))) :]
    try:
        found = listed(bytes(archive), stream=stream)
    except (InvalidContentError, UnsafeArchiveError, LimitExceededError):
        return
    for member in found:
        assert 0 <= member.offset <= member.offset + member.size <= len(archive)


@pytest.mark.parametrize("stream", [False, True])
def test_a_truncated_archive_gives_what_comes_before(stream: bool) -> None:
    archive = make_tar({"a": b"x" * 1000, "b": b"y" * 1000})
    file = reader(iter([archive[:2600]])) if stream else io.BytesIO(archive[:2600])
    members = TarReader(file, LIMITS).members()
    assert next(members).name == "a"
    assert next(members).name == "b"
    with pytest.raises(InvalidContentError, match="truncated"):
        next(members)


@pytest.mark.parametrize(
    "name",
    ["../x.png", "a/../../x.png", "/x.png", "C:\\x.png", "a\\..\\..\\x.png", "..", "\\\\host\\x"],
)
def test_names_that_point_outside(name: str) -> None:
    archive = make_tar({name: b"x"}, tar_format=tarfile.GNU_FORMAT)
    assert problems(archive) == {name: UnsafeArchiveError}


def test_what_is_no_plain_file_is_refused_alone() -> None:
    others = [
        special("soft", tarfile.SYMTYPE, "/etc/passwd"),
        special("hard", tarfile.LNKTYPE, "good"),
        special("pipe", tarfile.FIFOTYPE),
        special("device", tarfile.CHRTYPE),
        special("disk", tarfile.BLKTYPE),
    ]
    archive = make_tar({"good": b"x", "in.tar.gz": b"x", "in.zip": b"x"}, others=others)
    names = {"soft", "hard", "pipe", "device", "disk", "in.tar.gz", "in.zip"}
    assert problems(archive) == dict.fromkeys(names, UnsafeArchiveError)


def test_files_with_holes() -> None:
    """As GNU tar writes them in its own format, with a second block of holes, and in pax."""
    info = special("holes", tarfile.GNUTYPE_SPARSE)
    info.size = 512
    header = bytearray(info.tobuf(tarfile.GNU_FORMAT))
    header[482] = 1
    header[148:156] = b"%06o\0 " % sum(header[:148] + b" " * 8 + header[156:])
    archive = bytes(header) + bytes(504) + b"\0" + bytes(7) + b"x" * 512
    archive += make_tar({"good": b"x"})
    assert problems(archive) == {"holes": UnsupportedMediaError}
    assert [member.name for member in listed(archive)] == ["holes", "good"]
    pax = special("pax", tarfile.REGTYPE)
    pax.pax_headers = {"GNU.sparse.major": "1", "GNU.sparse.realsize": "9000000"}
    assert problems(make_tar({}, others=[pax])) == {"pax": UnsupportedMediaError}


def test_limits() -> None:
    archive = make_tar({f"{n}": b"x" * 1000 for n in range(10)})
    assert len(listed(archive, replace(LIMITS, members=10, total_bytes=10_000))) == 10
    with pytest.raises(LimitExceededError, match="more than 9 members"):
        listed(archive, replace(LIMITS, members=9))
    with pytest.raises(LimitExceededError, match="unpacks to more than 9999 bytes"):
        listed(archive, replace(LIMITS, total_bytes=9999))
    assert not problems(archive, replace(LIMITS, member_bytes=1000))
    refused = problems(archive, replace(LIMITS, member_bytes=999))
    assert set(refused.values()) == {LimitExceededError}
    assert len(refused) == 10


def test_headers_that_want_too_much() -> None:
    info = special("x", tarfile.XHDTYPE)
    info.size = 2 << 20
    with pytest.raises(UnsafeArchiveError, match="mebibyte"):
        listed(info.tobuf() + bytes(3 << 20))
    long = special("x", tarfile.REGTYPE)
    long.size = -1
    with pytest.raises(InvalidContentError):
        listed(long.tobuf(tarfile.GNU_FORMAT))


@pytest.mark.parametrize("record", [b"9 path=x\n", b"x", b"99 path=x\n", b"0 a=b\n", b"7 path\n"])
def test_pax_headers_that_are_none(record: bytes) -> None:
    info = special("x", tarfile.XHDTYPE)
    info.size = len(record)
    archive = info.tobuf() + record.ljust(512, b"\0") + make_tar({"good": b"x"})
    try:
        found = listed(archive)
    except InvalidContentError:
        return
    assert record == b"9 path=x\n"
    assert [member.name for member in found] == ["x"]


def test_what_is_no_archive() -> None:
    assert listed(b"") == []
    assert listed(bytes(1024)) == []
    for data in (b"x", b"x" * 512, make_tar({"a": b"x"})[:400]):
        with pytest.raises(InvalidContentError):
            listed(data)
