"""Texts as they lie in files, decoded piece by piece, so that no file is held as a whole."""

import codecs
from collections.abc import Iterator
from typing import BinaryIO

from lookalike_common.errors import InvalidContentError

_READ_BYTES = 1 << 18
_ENCODINGS = {name: codecs.lookup(name) for name in ("utf-8-sig", "utf-16")}
"""Looked up at once: a decoding process can open no file later, not even a codec's."""
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_blocks(file: BinaryIO) -> Iterator[str]:
    """Yield a file's text, at most 256 KiB of it at a time.

    A byte order mark is left out. Raises InvalidContentError for what is neither UTF-8 nor UTF-16
    with a byte order mark.
    """
    data = file.read(_READ_BYTES)
    encoding = "utf-16" if data.startswith(_UTF16) else "utf-8-sig"
    decoder = _new_decoder(encoding)
    read = 0
    while True:
        block = _decode(decoder, data, read)
        if block:
            yield block
        if not data:
            return
        read += len(data)
        data = file.read(_READ_BYTES)


def _new_decoder(encoding: str) -> codecs.IncrementalDecoder:
    make = _ENCODINGS[encoding].incrementaldecoder
    if make is None:
        raise LookupError(encoding)
    return make()


def _decode(decoder: codecs.IncrementalDecoder, data: bytes, read: int) -> str:
    """Decode the bytes at the offset `read`; none of them are the end."""
    waiting = len(decoder.getstate()[0])
    try:
        text = decoder.decode(data, final=not data)
    except UnicodeDecodeError as error:
        name = "UTF-16" if error.encoding.startswith("utf-16") else "UTF-8"
        place = read - waiting + error.start
        raise InvalidContentError(
            f"the text is not valid {name} at byte {place}; texts are UTF-8, or UTF-16 with a "
            f"byte order mark"
        ) from error
    if "\0" in text:
        raise InvalidContentError("the text has NUL characters: it is of another encoding, or none")
    return text
