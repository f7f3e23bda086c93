"""Settings of the ingest service: `LOOKALIKE_INGEST__…`."""

import os
import socket
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import ByteSize, Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SecretsSettingsSource
from typing_extensions import override

from lookalike_common.settings import (
    Frozen,
    Port,
    PositiveDuration,
    ServerSettings,
    ServiceSettings,
    TargetSettings,
)


def default_data_dir() -> Path:
    """Return the service's folder in the user's data folder."""
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    return Path(data) / "lookalike" / "ingest"


class Role(StrEnum):
    """What a replica does."""

    ALL = "all"
    """Answers, and works on jobs."""
    API = "api"
    """Answers: jobs that it accepts are worked on elsewhere."""
    WORKER = "worker"
    """Works on jobs, and serves nothing but health, server info and metrics."""


class IngestServerSettings(ServerSettings):
    """The gRPC server, with ingest's ports."""

    port: Port = 50053
    """Port to bind; 0 takes a free one."""
    metrics_port: Port | None = 9103
    """Port of the Prometheus endpoint on the same host; 0 takes a free one, None is off."""


class JobSettings(Frozen):
    """How jobs are worked on."""

    batch_items: int = Field(default=32, ge=1, le=1000)
    """Items that are fetched, encoded and written together."""
    batch_bytes: ByteSize = ByteSize(32 << 20)
    """Their bytes; one larger item still makes a batch of its own."""
    chunk_parts: int = Field(default=64, ge=1, le=1000)
    """Parts of items that are encoded and written together."""
    chunk_bytes: ByteSize = ByteSize(16 << 20)
    """Their bytes, as decoded; one larger part still makes a chunk of its own."""
    shard_items: int = Field(default=500, ge=1, le=1000)
    """Items of one durable task at most."""
    shards_at_once: int = Field(default=2, ge=1)
    """Durable tasks worked on at once; two keep the encoder busy while files are read."""
    read_threads: int = Field(default=4, ge=1)
    """Threads that read, unpack and check files."""
    max_attempts: int = Field(default=5, ge=3)
    """An item on which the service stopped so often is given up."""
    max_unfinished: int = Field(default=1000, ge=1)
    """Jobs waiting or running; more are refused."""
    max_unfinished_of_tenant: int = Field(default=1000, ge=1)
    """Of one tenant; more are refused."""
    retry_delay: PositiveDuration = timedelta(seconds=0.1)
    """Wait after the first failure of another service; doubled after each further one."""
    max_retry_delay: PositiveDuration = timedelta(seconds=5)
    """Longest wait between two tries."""
    retention: PositiveDuration = timedelta(days=30)
    """How long ended jobs are remembered."""
    visible_timeout: PositiveDuration = timedelta(seconds=10)
    """How long a job's end waits, at most, until a search finds what it wrote last."""
    polling_interval: PositiveDuration = timedelta(seconds=0.1)
    """How often the queues of tasks are looked at."""
    lite_warn_entities: int = Field(default=50_000, ge=0)
    """A job that may bring a collection on Milvus Lite above so many entities warns of it."""
    lite_max_entities: int = Field(default=1_000_000, ge=1)
    """One that is certain to fails."""
    optimize_after: int = Field(default=10_000, ge=1)
    """Entities that a job wrote, after which its collection's storage is put in order."""
    executor: str = Field(default_factory=socket.gethostname, min_length=1, max_length=200)
    """What this replica is called in logs; every start of it adds an id of its own."""
    takeover_delay: PositiveDuration = timedelta(seconds=3)
    """With several replicas: one that holds no lock in the database for so long is dead, and its
    tasks go on elsewhere. A restart of the database must fit in it, or work is done twice."""


class MediaSettings(Frozen):
    """How large items may be."""

    max_file_bytes: ByteSize = ByteSize(32 << 20)
    """Bytes of one file or member of an archive."""
    max_pixels: int = Field(default=100_000_000, ge=1)
    """Width times height of an image, as its header declares them."""
    max_tiles: int = Field(default=10_000, ge=1)
    """Tiles of one image."""
    max_pages: int = Field(default=10_000, ge=1)
    """Pages of one PDF."""
    max_stream_bytes: ByteSize = ByteSize(16 << 30)
    """Bytes of one sound or video, which is decoded piece by piece."""
    max_duration: PositiveDuration = timedelta(hours=4)
    """Of one sound or video, as its header declares it and as it turns out."""
    frame_edge: int = Field(default=640, ge=64, le=4096)
    """Pixels of the longer side of a video's frames: larger ones are scaled down."""
    silence: float = Field(default=-60.0, le=0.0)
    """Decibels below full scale: windows of sound that are nowhere louder are left out."""


class DecodingSettings(Frozen):
    """The processes that decode what could crash, hang or eat memory."""

    at_once: int = Field(default=4, ge=1)
    """Items decoded at once, each in a process; every shard worked on has one at least."""
    items: int = Field(default=100, ge=1)
    """Items after which a process is replaced."""
    max_memory: ByteSize = Field(default=ByteSize(2 << 30), ge=1 << 30)
    """Address space of a process; libraries alone take 600 MB of it."""
    max_cpu_time: PositiveDuration = timedelta(hours=1)
    """Processor time for one item."""
    max_silence: PositiveDuration = timedelta(seconds=60)
    """An item that gets nowhere for so long is given up."""


class ArchiveSettings(Frozen):
    """What an archive may hold."""

    max_members: int = Field(default=100_000, ge=1)
    """Members."""
    max_total_bytes: ByteSize = ByteSize(64 << 30)
    """Bytes of all members together, unpacked."""
    max_ratio: int = Field(default=200, ge=1)
    """How many times larger than packed a member may be."""
    cache_bytes: ByteSize = ByteSize(16 << 30)
    """Disk for what must be unpacked or brought here to be read; what is larger is refused."""


class TableSettings(Frozen):
    """What tables and files of records may hold."""

    max_record_bytes: ByteSize = ByteSize(16 << 20)
    """Bytes of one row or record."""
    max_records: int = Field(default=100_000_000, ge=1)
    """Rows of a table, or records of a file."""
    max_columns: int = Field(default=4096, ge=1)
    """Columns of a table."""
    max_row_group_bytes: ByteSize = ByteSize(4 << 30)
    """Bytes of a row group of a Parquet file, unpacked, as its footer declares them."""


class StoreSettings(Frozen):
    """A prefix in an object store that jobs may read."""

    prefix: str = Field(pattern=r"^(s3|gs|az)://[^/?#]+(/[^?#]*)?$")
    """`s3://bucket/prefix/`, `gs://…` or `az://container/…`; everything below it may be read."""
    endpoint: str = ""
    """URL of a store that is not the cloud's own; `http://` is taken, too."""
    region: str = ""
    """Region of the bucket, for S3."""
    credentials: dict[str, SecretStr] = Field(default_factory=dict)
    """By obstore's names: `access_key_id` and `secret_access_key` for S3, `service_account_key` for
    Google, `account_name` and `account_key` for Azure. Empty: the environment's or the machine's.
    """

    def config(self) -> dict[str, str]:
        """Return what obstore is told."""
        named = {"endpoint": self.endpoint, "region": self.region}
        secrets = {key: value.get_secret_value() for key, value in self.credentials.items()}
        return {key: value for key, value in (named | secrets).items() if value}


class WebPrefixSettings(Frozen):
    """A part of the web that jobs may read."""

    prefix: str = Field(pattern=r"^https?://[^/?#@]+(/[^?#]*)?$")
    """`https://host/path/`; everything below it may be read, and be redirected to."""
    private_networks: bool = False
    """Whether the host may lie at an address that is not public."""


class WebSettings(Frozen):
    """What jobs may read on the web."""

    prefixes: tuple[WebPrefixSettings, ...] = ()
    """As a JSON list; none by default."""
    connect_timeout: PositiveDuration = timedelta(seconds=10)
    """For a connection."""
    read_timeout: PositiveDuration = timedelta(seconds=30)
    """Without a byte."""
    total_timeout: PositiveDuration = timedelta(hours=1)
    """For one file."""


class AssetSettings(Frozen):
    """How originals are kept."""

    max_bytes: ByteSize = ByteSize(64 << 30)
    """Bytes of one uploaded asset."""
    upload_expiry: PositiveDuration = timedelta(hours=24)
    """An upload that nothing was added to for so long is forgotten."""
    min_free_bytes: ByteSize = ByteSize(64 << 20)
    """Room that is left on the disk."""
    store: StoreSettings | None = None
    """Where they are kept when not in the data folder: a prefix that all replicas share."""


class IngestSettings(ServiceSettings):
    """Everything that can be set."""

    model_config = ServiceSettings.configured("LOOKALIKE_INGEST__")

    server: IngestServerSettings = IngestServerSettings()
    """The gRPC server."""
    role: Role = Role.ALL
    """What this replica does; all but `all` need a `database_url`."""
    secrets_dir: Path | None = None
    """A folder with files that are named as variables and hold their values, such as
    `LOOKALIKE_INGEST__DATABASE_URL`: how secrets reach a container. Variables come first."""
    data_dir: Path = Field(default_factory=default_data_dir)
    """Where jobs and assets are kept."""
    database_url: SecretStr | None = None
    """`postgresql://user:password@host/database`, which several replicas may share; without it,
    jobs are kept in SQLite files in the data folder. It needs sessions of its own: no pool in
    between that lends one to several clients. A replica opens up to 17 connections."""
    roots: tuple[Path, ...] = ()
    """Folders that jobs may read, as a JSON list; none by default."""
    stores: tuple[StoreSettings, ...] = ()
    """Object stores that jobs may read, as a JSON list; none by default."""
    web: WebSettings = WebSettings()
    """What jobs may read on the web; nothing by default."""
    encoder: TargetSettings = TargetSettings(
        address="127.0.0.1:50051", deadline=timedelta(seconds=120)
    )
    """The encoder service."""
    search: TargetSettings = TargetSettings(
        address="127.0.0.1:50052", deadline=timedelta(seconds=60)
    )
    """The search service."""
    jobs: JobSettings = JobSettings()
    """How jobs are worked on."""
    media: MediaSettings = MediaSettings()
    """How large items may be."""
    decoding: DecodingSettings = DecodingSettings()
    """The processes that decode what could crash, hang or eat memory."""
    archives: ArchiveSettings = ArchiveSettings()
    """What an archive may hold."""
    tables: TableSettings = TableSettings()
    """What tables and files of records may hold."""
    assets: AssetSettings = AssetSettings()
    """How originals are kept."""

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        folder = env_settings().get("secrets_dir")
        if folder is None:
            return init_settings, env_settings
        return init_settings, env_settings, SecretsSettingsSource(settings_cls, folder)

    @field_validator("database_url")
    @classmethod
    def _is_postgres(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().startswith("postgresql://"):
            raise ValueError("a database_url begins with postgresql://")
        return value

    @model_validator(mode="after")
    def _can_share(self) -> Self:
        if self.role is not Role.ALL and self.database_url is None:
            raise ValueError(f"role {self.role} needs a database_url: nobody else sees SQLite")
        return self
