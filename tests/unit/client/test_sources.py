"""What the command makes of a name is what the service makes of it."""

from lookalike_client.cli import sources
from lookalike_ingest.sources.formats import record_format, table_format


def test_tables_are_those_of_the_service() -> None:
    for suffix in sources.TABLES:
        for name in (f"a{suffix}", f"a{suffix.upper()}.gz"):
            assert table_format(name, b"{") == table_format(name, b"PAR1"), "its name decides"


def test_files_of_records_are_those_of_the_service() -> None:
    assert all(record_format(f"a{suffix}") for suffix in sources.RECORDS)
    told = {suffix for kind in sources.KINDS for suffix in kind.suffixes.split()}
    assert {each for each in told if record_format(f"a{each}")} == set(sources.RECORDS)
