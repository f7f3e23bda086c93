"""Turns many small requests into few good runs of a model.

planner   what to take and how to cut it, as pure functions
returns   whether callers just answered are about to come back
backlog   what waits: bounded, interactive before bulk
work      one request on its way
worker    the part that runs in a thread: prepare, run, isolate what poisons a run
batcher   the one task that owns an encoder
"""

from lookalike_encoder.batching.backlog import Capacity
from lookalike_encoder.batching.batcher import Batcher
from lookalike_encoder.batching.metrics import BatchMetrics

__all__ = ["BatchMetrics", "Batcher", "Capacity"]
