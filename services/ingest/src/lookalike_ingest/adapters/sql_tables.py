"""The tables of the job store, for SQLite and PostgreSQL alike.

Times are microseconds since 1970. Counts stand in the job's row and move in the transaction that
gives an item its outcome; `items.fold` is unique for a job, so that one key is one item;
`items.listed` is false where listing its source failed.

Of a job with a pace, `jobs.released` is the first item that no task was submitted for, from
`release_at` on the next ones may be; while their task is being submitted, the last of them is
`releasing`.

Of a job that watches its source, `jobs.look` counts the looks; `items.seen` is the last one that
found the item, and an item that changed gives up its fold to the new one. `jobs.counted` is the
first item whose outcome, if it had one when it was found, is not counted yet.
"""

import sqlalchemy as sa

METADATA = sa.MetaData()


class Text(sa.types.TypeDecorator[str]):
    """Text from outside: PostgreSQL keeps no NUL, which is shown as what cannot be shown."""

    impl = sa.Text
    cache_ok = True

    def process_bind_param(self, value: str | None, _dialect: sa.Dialect) -> str | None:
        """Replace what one of the databases would refuse."""
        return value if value is None else value.replace("\0", "\ufffd")


JOBS = sa.Table(
    "jobs",
    METADATA,
    sa.Column("id", sa.String(64), primary_key=True),
    sa.Column("tenant", Text, nullable=False),
    sa.Column("request_id", Text, nullable=False),
    sa.Column("digest", sa.String(64), nullable=False),
    sa.Column("collection", Text, nullable=False),
    sa.Column("spec", Text, nullable=False),
    sa.Column("generation", sa.BigInteger, nullable=False, unique=True),
    sa.Column("state", sa.String(32), nullable=False, index=True),
    sa.Column("state_reason", Text, nullable=False, default=""),
    sa.Column("problem", Text),
    sa.Column("warnings", Text, nullable=False, default="[]"),
    sa.Column("expansion", sa.BigInteger, nullable=False, default=0),
    sa.Column("total", sa.BigInteger),
    sa.Column("found", sa.BigInteger, nullable=False, default=0),
    sa.Column("created", sa.BigInteger, nullable=False, default=0),
    sa.Column("updated", sa.BigInteger, nullable=False, default=0),
    sa.Column("unchanged", sa.BigInteger, nullable=False, default=0),
    sa.Column("skipped", sa.BigInteger, nullable=False, default=0),
    sa.Column("failed", sa.BigInteger, nullable=False, default=0),
    sa.Column("written", sa.BigInteger, nullable=False, default=0),
    sa.Column("removed", sa.BigInteger, nullable=False, default=0),
    sa.Column("revision", sa.BigInteger, nullable=False, default=1),
    sa.Column("created_at", sa.BigInteger, nullable=False),
    sa.Column("source", sa.String(64), nullable=False),
    sa.Column("watches", sa.Boolean, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("listed", sa.Boolean, nullable=False, default=False),
    sa.Column("counted", sa.BigInteger, nullable=False, default=0),
    sa.Column("unlisted", sa.BigInteger, nullable=False, default=0),
    sa.Column("last_written", sa.BigInteger),
    sa.Column("paced", sa.Boolean, nullable=False),
    sa.Column("released", sa.BigInteger),
    sa.Column("releasing", sa.BigInteger),
    sa.Column("release_at", sa.BigInteger),
    sa.Column("look", sa.BigInteger, nullable=False, default=0),
    sa.Column("look_at", sa.BigInteger),
    sa.Column("synced", sa.Boolean, nullable=False, default=False),
    sa.Column("round", sa.BigInteger, nullable=False, default=0),
    sa.Column("media_types", Text, nullable=False, default="{}"),
    sa.Column("stored_bytes", sa.BigInteger, nullable=False, default=0),
    sa.Column("retry_of", sa.String(64), nullable=False, default=""),
    sa.Column("started_at", sa.BigInteger),
    sa.Column("ended_at", sa.BigInteger),
    sa.Index("jobs_by_tenant", "tenant", "generation"),
    sa.Index("jobs_by_source", "source", "generation"),
)

LOADS = sa.Table(
    "loads",
    METADATA,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("executor", Text, primary_key=True),
    sa.Column("written_at", sa.BigInteger, nullable=False),
    sa.Column("items_per_second", sa.Double, nullable=False),
    sa.Column("steps", Text, nullable=False),
)

TURNS = sa.Table(
    "turns",
    METADATA,
    sa.Column("kind", sa.String(32), primary_key=True),
    sa.Column("last", sa.BigInteger, nullable=False),
)

DELETIONS = sa.Table(
    "deletions",
    METADATA,
    sa.Column("tenant", Text, primary_key=True),
    sa.Column("sha256", sa.String(64), primary_key=True),
    sa.Column("generation", sa.BigInteger, nullable=False),
)

LABELS = sa.Table(
    "labels",
    METADATA,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("key", Text, primary_key=True),
    sa.Column("value", Text, nullable=False),
)

ITEMS = sa.Table(
    "items",
    METADATA,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("ordinal", sa.BigInteger, primary_key=True),
    sa.Column("fold", sa.LargeBinary(16)),
    sa.Column("key", Text, nullable=False),
    sa.Column("source_uri", Text, nullable=False),
    sa.Column("place", Text, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("attributes", Text),
    sa.Column("attempts", sa.Integer, nullable=False, default=0),
    sa.Column("outcome", sa.String(16)),
    sa.Column("listed", sa.Boolean, nullable=False, default=True),
    sa.Column("version", Text, nullable=False, default=""),
    sa.Column("seen", sa.BigInteger, nullable=False, default=0),
    sa.Column("asset", Text, nullable=False, default=""),
    sa.Column("media_type", Text, nullable=False, default=""),
    sa.Column("written", sa.BigInteger, nullable=False, default=0),
    sa.UniqueConstraint("job", "fold", name="items_by_key"),
    sqlite_with_rowid=False,
)

FAILURES = sa.Table(
    "failures",
    METADATA,
    sa.Column(
        "sequence",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        primary_key=True,
        autoincrement=True,
    ),
    sa.Column("job", sa.String(64), nullable=False),
    sa.Column("ordinal", sa.BigInteger, nullable=False),
    sa.Column("item", Text, nullable=False),
    sa.Column("source_uri", Text, nullable=False),
    sa.Column("asset", Text, nullable=False),
    sa.Column("line", sa.BigInteger, nullable=False, default=0),
    sa.Column("segment", Text),
    sa.Column("step", sa.String(16), nullable=False),
    sa.Column("problem", Text, nullable=False),
    sa.Column("attempts", sa.Integer, nullable=False),
    sa.Column("failed_at", sa.BigInteger, nullable=False),
    sa.UniqueConstraint("job", "ordinal", name="failures_once"),
    sa.Index("failures_in_order", "job", "sequence"),
    sqlite_autoincrement=True,
)

SPOOL = sa.Table(
    "spool",
    METADATA,
    sa.Column("job", sa.String(64), primary_key=True),
    sa.Column("start", sa.BigInteger, primary_key=True),
    sa.Column("data", sa.LargeBinary, nullable=False),
    sa.Column("written_at", sa.BigInteger, nullable=False),
)

CHORES = sa.Table(
    "chores",
    METADATA,
    sa.Column("name", sa.String(64), primary_key=True),
    sa.Column("done_at", sa.BigInteger, nullable=False),
)

GENERATION_ROW = 1
GENERATIONS = sa.Table(
    "generations",
    METADATA,
    sa.Column("id", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("last", sa.BigInteger, nullable=False),
)


@sa.event.listens_for(GENERATIONS, "after_create")
def _begin_counting(_table: sa.Table, connection: sa.Connection, **_options: object) -> None:
    """Keep the one row, which jobs are created behind one after the other."""
    connection.execute(sa.insert(GENERATIONS).values(id=GENERATION_ROW, last=0))
