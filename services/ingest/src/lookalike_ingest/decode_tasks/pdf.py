"""PDF to text, page by page.

Facts of each page that has text: `page` (from 1), `pages` (in the document) and `title` (of the
document, empty where it has none). Its bytes are UTF-8. Pages that are only pictures have no text.
"""

import codecs
import re
from collections.abc import Iterator
from typing import BinaryIO

import pypdfium2
from pypdfium2 import raw

from lookalike_common.errors import InvalidContentError, LimitExceededError, UnsupportedMediaError
from lookalike_ingest.decoding import DecodeLimits, Fact, Facts

codecs.lookup("utf-16-le")  # which the library needs, when it could not be opened any more
_HYPHEN = "\ufffe"
"""What PDFium makes of a hyphen that only parts a word at the end of a line."""
_UNREADABLE = re.compile("[\0\ud800-\udfff\uffff]")


def run(
    file: BinaryIO, arguments: Facts, _limits: DecodeLimits
) -> Iterator[tuple[dict[str, Fact], bytes] | None]:
    """Yield the text of each page that has some; `max_pages` is how many there may be.

    Raises InvalidContentError (damaged), UnsupportedMediaError (locked) or LimitExceededError.
    """
    document = _open(file)
    try:
        pages = len(document)
        allowed = arguments["max_pages"]
        if isinstance(allowed, int) and pages > allowed:
            raise LimitExceededError(f"the PDF has {pages} pages; at most {allowed} are allowed")
        title = _clean(document.get_metadata_value("Title"))
        for index in range(pages):
            text = _page_text(document, index)
            yield ({"page": index + 1, "pages": pages, "title": title}, text) if text else None
    finally:
        document.close()


def _open(file: BinaryIO) -> pypdfium2.PdfDocument:
    try:
        return pypdfium2.PdfDocument(file)
    except pypdfium2.PdfiumError as error:
        if error.err_code in {raw.FPDF_ERR_PASSWORD, raw.FPDF_ERR_SECURITY}:
            raise UnsupportedMediaError("the PDF is locked with a password") from error
        raise InvalidContentError("the PDF is damaged or truncated") from error


def _page_text(document: pypdfium2.PdfDocument, index: int) -> bytes:
    try:
        page = document[index]
        try:
            words = page.get_textpage()
            try:
                return _clean(words.get_text_range()).encode()
            finally:
                words.close()
        finally:
            page.close()
    except pypdfium2.PdfiumError as error:
        raise InvalidContentError(f"page {index + 1} of the PDF is damaged") from error


def _clean(text: str) -> str:
    joined = text.replace(_HYPHEN, "").replace("\r\n", "\n").replace("\r", "\n")
    return _UNREADABLE.sub("", joined).strip()
