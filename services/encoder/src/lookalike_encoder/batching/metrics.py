"""What the batcher tells Prometheus, by encoder."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_LABELS = ("encoder",)


class BatchMetrics:
    """The metrics of all batchers of one process."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.queue_items = Gauge(
            "lookalike_encoder_queue_items",
            "Items waiting or running.",
            _LABELS,
            registry=registry,
        )
        self.batch_rows = Histogram(
            "lookalike_encoder_batch_rows",
            "Rows that the model ran together.",
            _LABELS,
            buckets=_ROWS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "lookalike_encoder_queue_seconds",
            "How long requests waited for their first item to be taken.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self.preprocess_seconds = Histogram(
            "lookalike_encoder_preprocess_seconds",
            "How long it took to prepare the items of an epoch.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self.inference_seconds = Histogram(
            "lookalike_encoder_inference_seconds",
            "How long the model took for one run.",
            _LABELS,
            buckets=_SECONDS,
            registry=registry,
        )
        self.inferences = Counter(
            "lookalike_encoder_inference_count",
            "Rows that the model ran. Divided by executions: the mean batch.",
            _LABELS,
            registry=registry,
        )
        self.executions = Counter(
            "lookalike_encoder_execution_count",
            "Runs of the model.",
            _LABELS,
            registry=registry,
        )
        self.failures = Counter(
            "lookalike_encoder_failures",
            "Items that got an error, by its reason; OVERLOADED counts those refused.",
            (*_LABELS, "reason"),
            registry=registry,
        )
        self.abandoned = Counter(
            "lookalike_encoder_abandoned_requests",
            "Requests whose caller left before the answer.",
            _LABELS,
            registry=registry,
        )
        self.split = Counter(
            "lookalike_encoder_split_runs",
            "Runs that failed and were repeated in halves.",
            _LABELS,
            registry=registry,
        )
