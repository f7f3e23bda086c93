"""HTML to the words that a reader sees.

Facts of each piece: `title`, empty where the page has none. Its bytes are UTF-8. Blocks stand on
lines of their own; scripts, styles and what browsers never show are left out.
"""

import re
from collections.abc import Iterator
from typing import BinaryIO

from selectolax.lexbor import LexborHTMLParser

from lookalike_common.errors import InvalidContentError
from lookalike_ingest.decoding import DecodeLimits, Fact, Facts
from lookalike_ingest.texts.blocks import read_blocks

_UNSEEN = [
    *("audio", "canvas", "head", "iframe", "noscript", "object", "script", "style", "svg"),
    *("template", "video"),
]
_BLOCKS = (
    "address,article,aside,blockquote,caption,dd,details,dialog,div,dl,dt,fieldset,figcaption,"
    "figure,footer,form,h1,h2,h3,h4,h5,h6,header,hr,legend,li,main,nav,ol,option,p,pre,section,"
    "summary,table,textarea,tr,ul"
)
_BREAK, _LINE = "\ufdd0", "\ufdd1"
"""Stand for a new block and a new line until blanks are counted; no text has them."""
_BREAKS = re.compile(f"[{_LINE} ]*{_BREAK}[{_BREAK}{_LINE} ]*")
_PIECE_CHARS = 1 << 18


def run(
    file: BinaryIO, _arguments: Facts, _limits: DecodeLimits
) -> Iterator[tuple[dict[str, Fact], bytes]]:
    """Yield the page's text in pieces. Raises InvalidContentError for what is not UTF-8."""
    source = "".join(read_blocks(file)).replace(_BREAK, " ").replace(_LINE, " ")
    page = LexborHTMLParser(source)
    title = page.css_first("head title")
    facts: dict[str, Fact] = {"title": " ".join(title.text().split()) if title else ""}
    text = _words(page)
    for start in range(0, max(len(text), 1), _PIECE_CHARS):
        yield dict(facts), text[start : start + _PIECE_CHARS].encode()


def _words(page: LexborHTMLParser) -> str:
    page.strip_tags(_UNSEEN, recursive=True)
    if page.body is None:
        raise InvalidContentError("the page has no body")
    for kept in page.css("pre,textarea"):
        kept.replace_with(_BREAK + kept.text().replace("\n", _LINE) + _BREAK)
    for line in page.css("br"):
        line.replace_with(_LINE)
    for cell in page.css("td,th"):
        cell.insert_after(" ")
    for block in page.css(_BLOCKS):
        block.insert_before(_BREAK)
        block.insert_after(_BREAK)
    blanks_folded = " ".join(page.body.text().split())
    lines = _BREAKS.sub("\n\n", blanks_folded).replace(_LINE, "\n").strip()
    return "\n".join(line.strip() for line in lines.split("\n"))
