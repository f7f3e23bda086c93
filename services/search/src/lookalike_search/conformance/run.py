"""Runs the checks and reports."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Final

from lookalike_common.errors import LookalikeError, UnsupportedByBackendError
from lookalike_search.conformance import finding, storing
from lookalike_search.conformance.expected import expected
from lookalike_search.conformance.feature import Feature, Report, Verdict
from lookalike_search.conformance.trial import Trial, WrongAnswerError
from lookalike_search.store import VectorStore

_logger = logging.getLogger(__name__)

FEATURES: Final = (*storing.FEATURES, *finding.FEATURES)
_AT_ONCE: Final = 4


async def examine(store: VectorStore, features: Sequence[Feature] = FEATURES) -> list[Report]:
    """Check all features, some at a time; the store must have been reached."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def check(feature: Feature) -> Report:
        async with turns:
            return await examine_one(store, feature)

    return list(await asyncio.gather(*map(check, features)))


async def examine_one(store: VectorStore, feature: Feature) -> Report:
    """Check one feature; nothing of it stays behind, whatever happens."""
    wanted = expected(store.capabilities.backend, feature.name)
    verdict, detail = await _try(store, feature)
    return Report(feature=feature, verdict=verdict, wanted=wanted, detail=detail)


async def _try(store: VectorStore, feature: Feature) -> tuple[Verdict, str]:
    trial = Trial(store)
    try:
        await feature.check(trial)
    except UnsupportedByBackendError as error:
        return Verdict.REFUSED, str(error)
    except (LookalikeError, WrongAnswerError) as error:
        return Verdict.FAILS, f"{type(error).__name__}: {error}"
    finally:
        try:
            await trial.drop_all()
        except LookalikeError as error:
            _logger.warning("something of %s is left over: %s", feature.name, error)
    return Verdict.WORKS, ""
