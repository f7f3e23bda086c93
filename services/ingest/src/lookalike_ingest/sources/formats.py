"""What a file holds several items of, by its name or by how it begins."""

from pathlib import PurePosixPath
from typing import Literal, TypeAlias

RecordFormat: TypeAlias = Literal["fasta", "fastq", "sdf", "smi"]
TableFormat: TypeAlias = Literal["csv", "jsonl", "parquet"]

_RECORDS: dict[str, RecordFormat] = {
    ".fa": "fasta",
    ".fasta": "fasta",
    ".ffn": "fasta",
    ".fna": "fasta",
    ".fastq": "fastq",
    ".fq": "fastq",
    ".sd": "sdf",
    ".sdf": "sdf",
    ".smi": "smi",
    ".smiles": "smi",
}
_TABLES: dict[str, TableFormat] = {
    ".csv": "csv",
    ".tab": "csv",
    ".tsv": "csv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
}
_PACKED = (".gz", ".zst")
_PARQUET = b"PAR1"
SNIFFED_BYTES = 64
"""How many bytes `table_format` looks at."""


def unpacked_name(name: str) -> str:
    """Return what a compressed file is called when it is unpacked."""
    path = PurePosixPath(name)
    return str(path.with_suffix("")) if path.suffix.lower() in _PACKED else name


def record_format(name: str) -> RecordFormat | None:
    """Return the format that a file's name claims, or None for no file of records."""
    return _RECORDS.get(PurePosixPath(unpacked_name(name)).suffix.lower())


def table_format(name: str, start: bytes) -> TableFormat:
    """Return a table's format: by its name, else by the first unpacked bytes."""
    named = _TABLES.get(PurePosixPath(unpacked_name(name)).suffix.lower())
    if named is not None:
        return named
    if start.startswith(_PARQUET):
        return "parquet"
    return "jsonl" if start.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{") else "csv"
