"""Contents out of what people have at hand: pictures, sounds, FASTA, SMILES, texts."""

import mimetypes
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from lookalike.type.v1 import content_pb2

Named = tuple[str, content_pb2.Content]
"""A content, and what to call it; the name is empty where there is but one."""
Modalities = Collection["content_pb2.Modality.ValueType"]

_IMAGES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*")
_SOUNDS = (b"fLaC", b"OggS\0", b"ID3\2", b"ID3\3", b"ID3\4")
_MP3_MASK, _MP3_SYNC = 0xE6, 0xE2  # of the second byte: in step, layer III
_SEQUENCES = frozenset({".fa", ".fasta", ".fna", ".ffn"})
_MOLECULES = frozenset({".smi", ".smiles"})


def contents_of_file(path: Path, modalities: Modalities = ()) -> list[Named]:
    """What a file holds, for an encoder that takes these modalities.

    Pictures and sounds are told by how they begin, or else by the file's name; FASTA and SMILES by
    the name, or because the encoder takes no texts; any other text is one content. Raises OSError,
    and ValueError when the file is empty or none of these.
    """
    return _contents(path.read_bytes(), path.suffix.lower(), modalities, _whole)


def contents_of_stream(data: bytes, modalities: Modalities) -> list[Named]:
    """What came over a pipe: as of a file, but each line of a text is a content of its own.

    Raises ValueError when it is empty or nothing that can be sent.
    """
    return _contents(data, "", modalities, _lines)


def _contents(
    data: bytes, suffix: str, modalities: Modalities, texts: Callable[[str], Iterator[Named]]
) -> list[Named]:
    if not data.strip():
        raise ValueError("it is empty")
    named = mimetypes.types_map.get(suffix, "")
    if _is_image(data) or (named.startswith("image/") and not _is_sound(data)):
        return [("", content_pb2.Content(image=data))]
    if _is_sound(data) or named.startswith("audio/"):
        return [("", content_pb2.Content(audio=data))]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError("it is no picture, no sound and no text in UTF-8") from None
    return list(_reader(suffix, modalities, texts)(text))


def _reader(
    suffix: str, modalities: Modalities, texts: Callable[[str], Iterator[Named]]
) -> Callable[[str], Iterator[Named]]:
    if suffix in _SEQUENCES:
        return _records
    if suffix in _MOLECULES:
        return _molecules
    if content_pb2.MODALITY_TEXT not in modalities:
        if content_pb2.MODALITY_SEQUENCE in modalities:
            return _records
        if content_pb2.MODALITY_MOLECULE in modalities:
            return _molecules
    return texts


def _whole(text: str) -> Iterator[Named]:
    yield "", content_pb2.Content(text=text.strip())


def _lines(text: str) -> Iterator[Named]:
    for line in filter(None, map(str.strip, text.splitlines())):
        yield line, content_pb2.Content(text=line)


def _molecules(text: str) -> Iterator[Named]:
    """Yield the molecule of each line: SMILES, then blanks and its name, if it has one."""
    for line in filter(None, map(str.strip, text.splitlines())):
        smiles, _, name = line.partition("\t" if "\t" in line else " ")
        yield name.strip() or smiles, content_pb2.Content(smiles=smiles)


def _records(text: str) -> Iterator[Named]:
    """Yield the records of a FASTA file by their ids; letters without a header are one."""
    bare, *records = ("\n" + text.strip()).split("\n>")
    if bare.strip():
        yield "", content_pb2.Content(sequence=bare.strip())
    for record in records:
        header, _, letters = record.partition("\n")
        yield (header.split() or [""])[0], content_pb2.Content(sequence=letters.strip())


def _is_image(data: bytes) -> bool:
    webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    avif = data[4:8] == b"ftyp" and data[8:12] in {b"avif", b"avis"}
    bitmap = data[:2] == b"BM" and data[6:10] == bytes(4)
    return data.startswith(_IMAGES) or webp or avif or bitmap


def _is_sound(data: bytes) -> bool:
    wave = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    aiff = data[:4] == b"FORM" and data[8:12] in {b"AIFF", b"AIFC"}
    mp3 = data[:1] == b"\xff" and data[1] & _MP3_MASK == _MP3_SYNC if len(data) > 1 else False
    return data.startswith(_SOUNDS) or wave or aiff or mp3
