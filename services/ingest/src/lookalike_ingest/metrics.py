"""What an operator sees of the jobs on the metrics endpoint."""

from prometheus_client import CollectorRegistry, Counter

from lookalike_ingest.batch_report import BatchReport


class JobMetrics:
    """Counters over all jobs of this process; the truth about one job is in the job store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._items = Counter(
            "lookalike_ingest_items",
            "Items that came to an outcome.",
            ["outcome"],
            registry=registry,
        )
        self._entities = Counter(
            "lookalike_ingest_entities",
            "Entities written, and stale ones removed.",
            ["change"],
            registry=registry,
        )
        self._seconds = Counter(
            "lookalike_ingest_step_seconds",
            "Time spent in the steps of the pipeline.",
            ["step"],
            registry=registry,
        )

    def add(self, report: BatchReport) -> None:
        """Count a batch that was recorded."""
        for result in report.results:
            self._items.labels(str(result.outcome)).inc()
            self._entities.labels("written").inc(result.written)
        self._entities.labels("removed").inc(report.removed)
        for step, seconds in report.stopwatch.seconds.items():
            self._seconds.labels(step).inc(seconds)
