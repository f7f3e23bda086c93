"""Files of records: FASTA, FASTQ, SDF, SMI. Finds where each record begins and ends, and its name.

What is in a record (whether its letters are bases, whether its atoms make a molecule) is found out
when its turn comes. A broken record is a problem of its own; the next one begins where its format
says that one can begin.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from lookalike_common.errors import InvalidContentError, LookalikeError
from lookalike_ingest.sources.formats import RecordFormat
from lookalike_ingest.sources.lines import Line, Record, RecordLimits, join, spoiled

_SDF_END = b"$$$$"
_FASTQ_LINES = 4
_NAME_CHARACTERS = 500


@dataclass(frozen=True, slots=True)
class NamedRecord:
    """One record with the name that it gives itself; empty for none."""

    record: Record
    name: str = ""


def read_records(
    lines: Iterator[Line], record_format: RecordFormat, limits: RecordLimits
) -> Iterator[NamedRecord]:
    """Yield a file's records in order."""
    return _READERS[record_format](lines, limits)


def _read_fasta(lines: Iterator[Line], limits: RecordLimits) -> Iterator[NamedRecord]:
    taken: list[Line] = []
    for line in lines:
        if line.data.startswith(b">") and taken:
            yield _fasta(taken, limits)
            taken = []
        if taken or not line.blank:
            _take(taken, line, limits)
    if taken:
        yield _fasta(taken, limits)


def _fasta(taken: list[Line], limits: RecordLimits) -> NamedRecord:
    if not taken[0].data.startswith(b">"):
        error = InvalidContentError("a FASTA record begins with '>'")
        return NamedRecord(spoiled(taken, error))
    name = _first_word(taken[0].data[1:])
    if all(line.blank for line in taken[1:]):
        return NamedRecord(spoiled(taken, InvalidContentError("the record has no sequence")), name)
    return NamedRecord(join(taken, limits.bytes), name)


def _take(taken: list[Line], line: Line, limits: RecordLimits) -> None:
    """Add a line; of a record that is too long already, only its length is kept."""
    if taken and taken[-1].offset + taken[-1].length - taken[0].offset > limits.bytes:
        last = taken.pop()
        length = line.offset + line.length - last.offset
        taken.append(Line(last.number, last.offset, length, b""))
    else:
        taken.append(line)


def _read_fastq(lines: Iterator[Line], limits: RecordLimits) -> Iterator[NamedRecord]:
    """Read records of four lines; behind a broken one, look for the next line with an '@'."""
    taken: list[Line] = []
    for line in lines:
        if not taken and line.blank:
            continue
        taken.append(line)
        if not taken[0].data.startswith(b"@") or len(taken) == _FASTQ_LINES:
            yield _fastq(taken, limits)
            taken = []
    if taken:
        yield _fastq(taken, limits)


def _fastq(taken: list[Line], limits: RecordLimits) -> NamedRecord:
    name = _first_word(taken[0].data[1:])
    error: LookalikeError
    if not taken[0].data.startswith(b"@"):
        error = InvalidContentError("a FASTQ record begins with '@'")
        return NamedRecord(spoiled(taken, error))
    if len(taken) < _FASTQ_LINES or not taken[2].data.startswith(b"+"):
        error = InvalidContentError("a FASTQ record has four lines, the third begins with '+'")
        return NamedRecord(spoiled(taken, error), name)
    record = join(taken, limits.bytes)
    if record.problem is None and len(taken[1].data.strip()) != len(taken[3].data.strip()):
        error = InvalidContentError("the record has not as many qualities as bases")
        record = spoiled(taken, error)
    return NamedRecord(record, name)


def _read_sdf(lines: Iterator[Line], limits: RecordLimits) -> Iterator[NamedRecord]:
    """Read records up to `$$$$`; what stands behind the last one is cut off."""
    taken: list[Line] = []
    for line in lines:
        if line.data.startswith(_SDF_END):
            if taken:
                yield NamedRecord(join(taken, limits.bytes), _whole_line(taken[0].data))
            taken = []
        else:
            _take(taken, line, limits)
    if any(not line.blank for line in taken):
        yield NamedRecord(join(taken, limits.bytes), _whole_line(taken[0].data))


def _read_smi(lines: Iterator[Line], limits: RecordLimits) -> Iterator[NamedRecord]:
    """Read `SMILES name` lines; a header is none, nor are comments."""
    for line in lines:
        if line.blank or line.data.startswith(b"#"):
            continue
        words = line.data.split(maxsplit=1)
        if line.number == 1 and words and words[0].lower() in {b"smiles", b"canonical_smiles"}:
            continue
        name = _whole_line(words[1]) if len(words) > 1 else ""
        yield NamedRecord(join([line], limits.bytes), name)


def _first_word(data: bytes) -> str:
    return _whole_line(data).split(" ", 1)[0].split("\t", 1)[0]


def _whole_line(data: bytes) -> str:
    """Return a name; what is no UTF-8 or cannot be shown is replaced."""
    text = data.decode(errors="replace").strip()[:_NAME_CHARACTERS]
    return "".join(each if each.isprintable() or each == "\t" else "\ufffd" for each in text)


_READERS: dict[RecordFormat, Callable[[Iterator[Line], RecordLimits], Iterator[NamedRecord]]] = {
    "fasta": _read_fasta,
    "fastq": _read_fastq,
    "sdf": _read_sdf,
    "smi": _read_smi,
}
