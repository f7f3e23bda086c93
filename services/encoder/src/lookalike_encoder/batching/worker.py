"""What happens to an epoch in the encoder's thread: prepare, cut into runs, run.

A run that fails is repeated in halves until what poisons it is alone, so that one bad item never
takes its neighbours along. Bulk work gives way between two runs as soon as somebody waits.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from lookalike_common.errors import InternalError, LookalikeError
from lookalike_encoder.batching.metrics import BatchMetrics
from lookalike_encoder.batching.planner import plan_runs
from lookalike_encoder.batching.work import Entry, Submission
from lookalike_encoder.content import Operation, Priority
from lookalike_encoder.encoder import Encoder, Prepared, Row
from lookalike_encoder.manifest import Budget

_logger = logging.getLogger(__name__)
_In = TypeVar("_In")
_Out = TypeVar("_Out")


class Worker:
    """Runs epochs of one encoder; its methods are called from threads and raise nothing."""

    def __init__(
        self,
        encoder: Encoder,
        budget: Budget,
        metrics: BatchMetrics,
        someone_waits: Callable[[], bool],
    ) -> None:
        self._encoder = encoder
        self._budget = budget
        self._someone_waits = someone_waits
        label = encoder.manifest.versioned_name
        self._batch_rows = metrics.batch_rows.labels(label)
        self._preprocess_seconds = metrics.preprocess_seconds.labels(label)
        self._inference_seconds = metrics.inference_seconds.labels(label)
        self._inferences = metrics.inferences.labels(label)
        self._executions = metrics.executions.labels(label)
        self._split = metrics.split.labels(label)

    def process(self, entries: Sequence[Entry]) -> list[Entry]:
        """Finish an epoch; returns the entries that gave way to somebody who waits."""
        self.prepare(entries)
        rows = list(_pending_rows(entries))
        runs = plan_runs([row.length for _, _, row in rows], self._budget)
        for count, run in enumerate(runs):
            bulk = rows[run[0]][0].submission.priority is Priority.BULK
            if count and bulk and self._someone_waits():
                break
            self._run([rows[index] for index in run])
        return [entry for entry in entries if not entry.is_finished]

    def prepare(self, entries: Sequence[Entry]) -> None:
        """Turn items into rows, or into errors."""
        waiting = [entry for entry in entries if not (entry.prepared or entry.is_finished)]
        if not waiting:
            return
        started = time.perf_counter()
        results = self._isolate(self._prepare_items, waiting)
        seconds = time.perf_counter() - started
        for entry, result in zip(waiting, results, strict=True):
            if isinstance(result, LookalikeError):
                entry.fail(result)
            elif not result.rows:
                entry.fail(InternalError("an item was prepared to nothing"))
            else:
                entry.prepared = result
        for submission in _submissions(waiting):
            submission.preprocess += seconds
        self._preprocess_seconds.observe(seconds)

    def _prepare_items(self, entries: Sequence[Entry]) -> Sequence[Prepared | LookalikeError]:
        results = self._encoder.prepare([entry.item for entry in entries])
        if len(results) != len(entries):
            raise InternalError(f"{len(entries)} items were prepared to {len(results)}")
        if not all(isinstance(each, Prepared | LookalikeError) for each in results):
            raise InternalError("an item was prepared to something else than rows")
        return results

    def _run(self, rows: Sequence[_PendingRow]) -> None:
        """Run some rows together and hand out the vectors."""
        wanted = [each for each in rows if not each[0].is_finished]
        if not wanted:
            return
        started = time.perf_counter()
        vectors = self._isolate(self._encode_rows, wanted)
        seconds = time.perf_counter() - started
        for (entry, number, _), vector in zip(wanted, vectors, strict=True):
            if isinstance(vector, LookalikeError):
                entry.fail(vector)
            else:
                entry.finish_row(number, vector)
        for submission in _submissions(entry for entry, _, _ in wanted):
            submission.inference += seconds
            submission.batch_rows = len(wanted)
        self._batch_rows.observe(len(wanted))
        self._inference_seconds.observe(seconds)

    def _encode_rows(self, rows: Sequence[_PendingRow]) -> Sequence[NDArray[Any] | LookalikeError]:
        self._executions.inc()
        self._inferences.inc(len(rows))
        made = self._encoder.encode([row for _, _, row in rows])
        if len(made) != len(rows):
            raise InternalError(f"the model returned {len(made)} results for {len(rows)} rows")
        return [self._check(row, each) for (_, _, row), each in zip(rows, made, strict=True)]

    def _check(self, row: Row, made: NDArray[Any]) -> NDArray[Any] | LookalikeError:
        """Refuse what is no vector, and what is no number."""
        manifest = self._encoder.manifest
        if row.operation is Operation.ENCODE and made.shape != manifest.vector_shape:
            raise InternalError(f"the model returned {made.shape}, not {manifest.vector_shape}")
        if np.issubdtype(made.dtype, np.floating) and not np.isfinite(made).all():
            return InternalError("the model returned no numbers")
        return made

    def _isolate(
        self, work: Callable[[Sequence[_In]], Sequence[_Out]], elements: Sequence[_In]
    ) -> list[_Out | LookalikeError]:
        """Do work on some elements together, and in halves where that fails."""
        try:
            return list(work(elements))
        except Exception as error:  # noqa: BLE001 - whatever it is, others must not suffer from it
            if len(elements) == 1:
                return [self._explain(error)]
        self._split.inc()
        half = len(elements) // 2
        return self._isolate(work, elements[:half]) + self._isolate(work, elements[half:])

    def _explain(self, error: Exception) -> LookalikeError:
        if isinstance(error, LookalikeError) and not isinstance(error, InternalError):
            return error
        name = self._encoder.manifest.versioned_name
        _logger.error("encoders/%s failed on one item", name, exc_info=error)
        return InternalError(f"encoders/{name} failed on this item: {error}")


_PendingRow = tuple[Entry, int, Row]


def _pending_rows(entries: Iterable[Entry]) -> Iterable[_PendingRow]:
    """Yield the rows that are still to be run, with their numbers within their item."""
    for entry in entries:
        if entry.prepared and not entry.is_finished:
            for number, row in enumerate(entry.prepared.rows):
                if number not in entry.vectors:
                    yield entry, number, row


def _submissions(entries: Iterable[Entry]) -> Iterable[Submission]:
    """Return the requests that entries belong to, each once."""
    return {id(entry.submission): entry.submission for entry in entries}.values()
