"""Tells what bytes are by how they begin, and what a file's name claims to be.

Enough to decide whether an item is for the collection at all; whether it can be decoded is found
out by `lookalike_media` and the encoder.
"""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import PurePosixPath

PREFIX_BYTES = 512
"""How many bytes `detect_media` looks at."""


class Modality(StrEnum):
    """What a piece of content is made of."""

    TEXT = "text"
    IMAGE = "image"
    AUDIO = "audio"
    VIDEO = "video"
    MOLECULE = "molecule"
    SEQUENCE = "sequence"


STREAMED = frozenset({Modality.VIDEO, Modality.AUDIO})
"""What may be larger than memory, as it is decoded piece by piece."""


@dataclass(frozen=True, slots=True)
class MediaType:
    """An IANA media type and the modality it stands for, if any."""

    name: str
    modality: Modality | None


UNKNOWN = MediaType("application/octet-stream", None)
ZIP = MediaType("application/zip", None)

PDF = MediaType("application/pdf", Modality.TEXT)
HTML = MediaType("text/html", Modality.TEXT)

_SIGNATURES: tuple[tuple[int, bytes, MediaType], ...] = (
    (0, b"\xff\xd8\xff", MediaType("image/jpeg", Modality.IMAGE)),
    (0, b"\x89PNG\r\n\x1a\n", MediaType("image/png", Modality.IMAGE)),
    (0, b"GIF8", MediaType("image/gif", Modality.IMAGE)),
    (8, b"WEBP", MediaType("image/webp", Modality.IMAGE)),
    (0, b"II*\0", MediaType("image/tiff", Modality.IMAGE)),
    (0, b"MM\0*", MediaType("image/tiff", Modality.IMAGE)),
    (4, b"ftypavif", MediaType("image/avif", Modality.IMAGE)),
    (4, b"ftypavis", MediaType("image/avif", Modality.IMAGE)),
    (4, b"ftypheic", MediaType("image/heic", Modality.IMAGE)),
    (4, b"ftypmif1", MediaType("image/heif", Modality.IMAGE)),
    (4, b"ftypM4A", MediaType("audio/mp4", Modality.AUDIO)),
    (4, b"ftypM4B", MediaType("audio/mp4", Modality.AUDIO)),
    (4, b"ftypqt", MediaType("video/quicktime", Modality.VIDEO)),
    (4, b"ftyp", MediaType("video/mp4", Modality.VIDEO)),
    (4, b"moov\0", MediaType("video/quicktime", Modality.VIDEO)),
    (4, b"mdat", MediaType("video/quicktime", Modality.VIDEO)),
    (4, b"wide\0", MediaType("video/quicktime", Modality.VIDEO)),
    (0, b"\x1aE\xdf\xa3", MediaType("video/x-matroska", Modality.VIDEO)),
    (8, b"AVI ", MediaType("video/x-msvideo", Modality.VIDEO)),
    (0, b"FLV\x01", MediaType("video/x-flv", Modality.VIDEO)),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", MediaType("video/x-ms-asf", Modality.VIDEO)),
    (0, b"\0\0\x01\xba", MediaType("video/mpeg", Modality.VIDEO)),
    (8, b"WAVE", MediaType("audio/wav", Modality.AUDIO)),
    (8, b"AIFF", MediaType("audio/aiff", Modality.AUDIO)),
    (8, b"AIFC", MediaType("audio/aiff", Modality.AUDIO)),
    (0, b"caff", MediaType("audio/x-caf", Modality.AUDIO)),
    (0, b".snd", MediaType("audio/basic", Modality.AUDIO)),
    (0, b"#!AMR", MediaType("audio/amr", Modality.AUDIO)),
    (0, b"fLaC", MediaType("audio/flac", Modality.AUDIO)),
    (28, b"\x80theora", MediaType("video/ogg", Modality.VIDEO)),
    (0, b"OggS", MediaType("audio/ogg", Modality.AUDIO)),
    (0, b"ID3", MediaType("audio/mpeg", Modality.AUDIO)),
    (0, b"PK\x03\x04", ZIP),
    (0, b"PK\x05\x06", ZIP),
    (0, b"%PDF-", PDF),
    (0, b"BM", MediaType("image/bmp", Modality.IMAGE)),
)
"""Where a signature stands, the signature, and what it means; longer ones before shorter ones."""

_SUFFIXES = {
    Modality.IMAGE: (
        ".avif .bmp .dib .gif .heic .heif .jfif .jpe .jpeg .jpg .png .tif .tiff .webp"
    ),
    Modality.AUDIO: ".aac .aif .aifc .aiff .amr .caf .flac .m4a .m4b .mp3 .oga .ogg .opus .wav",
    Modality.VIDEO: ".3gp .avi .flv .m4v .mkv .mov .mp4 .mpeg .mpg .ogv .webm .wmv",
    Modality.MOLECULE: ".mol .sd .sdf .smi .smiles",
    Modality.SEQUENCE: ".fa .fasta .fastq .ffn .fna .fq",
    Modality.TEXT: ".htm .html .markdown .md .pdf .rst .text .txt .xhtml",
}
_TEXTS = {
    MediaType("text/markdown", Modality.TEXT): ".markdown .md",
    HTML: ".htm .html .xhtml",
    PDF: ".pdf",
    MediaType("text/plain", Modality.TEXT): ".rst .text .txt",
}
"""What says what it is by its name alone."""
_TEXT_BY_SUFFIX = {
    suffix: media_type for media_type, suffixes in _TEXTS.items() for suffix in suffixes.split()
}
_HTML_BEGINS = (b"<!doctype html", b"<html")
_BY_SUFFIX = {
    suffix: modality for modality, suffixes in _SUFFIXES.items() for suffix in suffixes.split()
}


def detect_media(prefix: bytes) -> MediaType:
    """Return the media type of bytes that begin with `prefix`."""
    for offset, signature, media_type in _SIGNATURES:
        if prefix.startswith(signature, offset):
            return media_type
    return _detect_frames(prefix)


def _detect_frames(prefix: bytes) -> MediaType:
    """Recognise streams that have no header, by how their first frames begin."""
    if prefix[:1] == b"\x47" == prefix[188:189] == prefix[376:377]:
        return MediaType("video/mp2t", Modality.VIDEO)
    if len(prefix) < 4 or prefix[0] != 0xFF:
        return UNKNOWN
    version_and_layer, rates = prefix[1], prefix[2]
    if version_and_layer & 0xF6 == 0xF0:
        return MediaType("audio/aac", Modality.AUDIO)
    layer = version_and_layer & 0x06  # 3 and 2; what looks like layer 1 is UTF-16, most likely
    if version_and_layer & 0xE0 == 0xE0 and layer in {0x02, 0x04} and rates & 0xF0 != 0xF0:
        return MediaType("audio/mpeg", Modality.AUDIO)
    return UNKNOWN


def name_text(detected: MediaType, prefix: bytes, name: str) -> MediaType:
    """Return the media type of what `detect_media` cannot know: texts have no signatures.

    A text may even begin like something else, as one about a BMW does.
    """
    claimed = _TEXT_BY_SUFFIX.get(PurePosixPath(name).suffix.lower(), UNKNOWN)
    if detected != UNKNOWN and (detected == PDF or claimed == UNKNOWN or b"\0" in prefix):
        return detected
    if prefix.removeprefix(b"\xef\xbb\xbf").lstrip().lower().startswith(_HTML_BEGINS):
        return HTML
    return claimed


def claimed_modality(name: str) -> Modality | None:
    """Return what a file of this name should be, or None where the name does not say."""
    return _BY_SUFFIX.get(PurePosixPath(name).suffix.lower())
