"""What the settings mean for the parts: limits, paces and names."""

from uuid import uuid4

from lookalike_ingest.adapters.decode_pool import ProcessLimits
from lookalike_ingest.batches.batching import BatchLimits
from lookalike_ingest.batches.patience import Backoff
from lookalike_ingest.decoding import DecodeLimits
from lookalike_ingest.jobs import JobsLimits
from lookalike_ingest.settings import IngestSettings
from lookalike_ingest.sources.zip_directory import ArchiveLimits


def choose_database_url(settings: IngestSettings, file: str) -> str:
    """Return the one database's URL, or that of a file for this purpose."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    return f"sqlite:///{settings.data_dir / file}"


def name_executor(settings: IngestSettings) -> str:
    """Return who begins tasks: this start of this replica, never taken for an earlier one.

    On SQLite there is nobody else, and DBOS itself brings back what it left.
    """
    if settings.database_url is None:
        return "local"
    return f"{settings.jobs.executor}:{uuid4().hex[:12]}"


def make_process_limits(settings: IngestSettings) -> ProcessLimits:
    """Return what decoding processes may use."""
    return ProcessLimits(
        settings.decoding.at_once,
        int(settings.decoding.max_memory),
        settings.decoding.max_cpu_time,
        settings.decoding.max_silence,
        settings.decoding.items,
    )


def make_decode_limits(settings: IngestSettings) -> DecodeLimits:
    """Return how large decoded things may be."""
    return DecodeLimits(settings.media.max_pixels, settings.media.max_duration)


def make_backoff(settings: IngestSettings) -> Backoff:
    """Return how long to wait between tries."""
    return Backoff(settings.jobs.retry_delay, settings.jobs.max_retry_delay)


def make_jobs_limits(settings: IngestSettings) -> JobsLimits:
    """Return how many jobs are accepted."""
    jobs = settings.jobs
    return JobsLimits(jobs.max_unfinished, jobs.max_unfinished_of_tenant)


def make_batch_limits(settings: IngestSettings) -> BatchLimits:
    """Return how large a batch may be."""
    return BatchLimits(settings.jobs.batch_items, int(settings.jobs.batch_bytes))


def make_archive_limits(settings: IngestSettings) -> ArchiveLimits:
    """Return what an archive may hold."""
    return ArchiveLimits(
        members=settings.archives.max_members,
        member_bytes=int(settings.media.max_file_bytes),
        total_bytes=int(settings.archives.max_total_bytes),
        ratio=settings.archives.max_ratio,
        stream_bytes=int(settings.media.max_stream_bytes),
    )
