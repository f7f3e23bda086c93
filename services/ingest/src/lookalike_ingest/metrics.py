"""What an operator sees of the jobs on the metrics endpoint."""

from collections.abc import Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge

from lookalike_ingest.batches.batch_report import BatchReport


class JobMetrics:
    """Counters over all jobs of this process; the truth about one job is in the job store."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._steps: set[str] = set()
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

        self._backlog = Gauge(
            "lookalike_ingest_backlog_tasks",
            "Tasks that all unfinished jobs have left, over all replicas.",
            registry=registry,
        )
        self._load = Gauge(
            "lookalike_ingest_step_load",
            "Threads that each step kept busy lately, on average, in this process.",
            ["step"],
            registry=registry,
        )

    def set_backlog(self, tasks: int) -> None:
        """Show what is left to do."""
        self._backlog.set(tasks)

    def set_load(self, steps: Mapping[str, float]) -> None:
        """Show what the steps do lately; those that do nothing any more at 0."""
        self._steps |= steps.keys()
        for step in self._steps:
            self._load.labels(step).set(steps.get(step, 0.0))

    def add(self, report: BatchReport) -> None:
        """Count a batch that was recorded."""
        for result in report.results:
            self._items.labels(str(result.outcome)).inc()
            self._entities.labels("written").inc(result.written)
        self._entities.labels("removed").inc(report.removed)
        for step, seconds in report.stopwatch.seconds.items():
            self._seconds.labels(step).inc(seconds)
