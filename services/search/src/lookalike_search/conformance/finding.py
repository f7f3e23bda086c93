"""Checks of searches and filters."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable
from typing import Final

import numpy as np

from lookalike_search.conformance.feature import Feature
from lookalike_search.conformance.trial import (
    ATTRIBUTES,
    DIMENSIONS,
    Trial,
    by,
    ensure,
    entity,
    name_of,
    names_of,
    priced,
    random_vectors,
    vectors,
)
from lookalike_search.fusion import Fusion
from lookalike_search.grouping import GroupBy
from lookalike_search.model import (
    Bits,
    Consistency,
    Dense,
    IndexType,
    Metric,
    VectorKind,
)
from lookalike_search.queries import Keywords, Query, format_consistency_token

_ROWS: Final = 300
_BITS: Final = 64
_RIGHT_AT: Final = 0.9
"""Share of the true ten nearest that an index must find."""

_SIMILARITY: Final[dict[Metric, Callable[[Dense, Dense], Dense]]] = {
    Metric.COSINE: lambda rows, query: rows @ query / np.linalg.norm(rows, axis=1),
    Metric.INNER_PRODUCT: lambda rows, query: rows @ query,
    Metric.EUCLIDEAN: lambda rows, query: -np.linalg.norm(rows - query, axis=1),
}


async def check_metric(trial: Trial, metric: Metric) -> None:
    """The ranking is that of looking at every row."""
    name, rows = await _filled(trial, metric)
    query = random_vectors(1, 99)[0]
    wanted = _nearest(metric, rows, query, 10)
    ensure(await trial.search(name, by(query)), wanted, "the ten nearest")


async def check_index(trial: Trial, index: IndexType) -> None:
    """Nearly all of the true ten nearest are found."""
    name, rows = await _filled(trial, Metric.COSINE, index)
    found = 0
    for query in random_vectors(10, 98):
        wanted = _nearest(Metric.COSINE, rows, query, 10)
        found += len(set(wanted) & set(await trial.search(name, by(query), params={"ef": 128})))
    ensure(found >= _RIGHT_AT * 100, True, f"{found} of the 100 nearest, which is enough")


async def check_bits(trial: Trial, metric: Metric, index: IndexType) -> None:
    """Binary vectors are ranked exactly, ties by id."""
    field = vectors(metric, kind=VectorKind.BINARY, dimensions=_BITS, index=index)
    name = await trial.new(field)
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 2, (200, _BITS), np.uint8)
    await trial.write(name, *(entity(i, _packed(row)) for i, row in enumerate(rows)))
    query = rng.integers(0, 2, _BITS, np.uint8)
    common, either = (rows & query).sum(axis=1), (rows | query).sum(axis=1)
    different = (rows ^ query).sum(axis=1)
    distance = 1 - common / either if metric is Metric.TANIMOTO else different
    wanted = names_of([int(each) for each in np.argsort(distance, kind="stable")[:20]])
    ensure(await trial.search(name, by(_packed(query)), top_k=20), wanted, "the 20 nearest")


async def check_sparse(trial: Trial) -> None:
    """Sparse vectors of the caller's own."""
    await trial.new(vectors(Metric.INNER_PRODUCT, kind=VectorKind.SPARSE))


async def check_several_vectors(trial: Trial) -> None:
    """A collection with two vector fields is searched by either, and by both."""
    name = await trial.new(vectors(name="left"), vectors(Metric.EUCLIDEAN, name="right"))
    rows = random_vectors(40, 4)
    for i in range(20):
        await trial.write(name, entity(i, vectors={"left": rows[i], "right": rows[20 + i]}))
    left, right = by(rows[3], vector_field="left"), by(rows[27], vector_field="right")
    ensure((await trial.search(name, left))[0], name_of(3), "the nearest by the one")
    ensure((await trial.search(name, right))[0], name_of(7), "the nearest by the other")
    both = await trial.search(name, left, right, fusion=Fusion.RRF)
    ensure({name_of(3), name_of(7)} <= set(both[:5]), True, "both are on top, which is")


async def check_keyword(trial: Trial) -> None:
    """Words are found in entities' texts."""
    name = await _texts(trial)
    found = await trial.search(name, Query(source=Keywords("feline")))
    ensure(found, [name_of(2)], "what has the word")


async def check_hybrid(trial: Trial) -> None:
    """A vector and words are asked together."""
    name = await _texts(trial)
    words = Query(source=Keywords("feline"))
    found = await trial.search(name, by(random_vectors(1, 1)[0]), words, top_k=2)
    ensure(set(found), {name_of(1), name_of(2)}, "the two best")


async def check_filters(trial: Trial) -> None:
    """Filters mean what they say, and what is missing matches nothing but its absence."""
    name = await trial.new(attributes=ATTRIBUTES)
    drafts = [
        priced(
            i,
            color="red" if i % 2 else "blue",
            weight=i / 10,
            sold=i % 3 == 0,
            tags=[f"t{i % 4}"],
            free={"n": i},
        )
        for i in range(20)
    ]
    await trial.write(name, *drafts, entity(20))
    numbers = range(20)
    for text, wanted in {
        'color = "red" AND price < 6': [i for i in numbers if i % 2 and i < 6],
        'price >= 18 OR tags:"t3"': [i for i in numbers if i >= 18 or i % 4 == 3],
        'NOT color = "red"': [i for i in numbers if not i % 2],
        "NOT price:*": [20],
        "sold = true AND weight > 1.05": [i for i in numbers if i % 3 == 0 and i > 10],
        "free.n > 16": [17, 18, 19],
        'item = "item-4"': [4],
        "price != 3 AND price <= 5": [0, 1, 2, 4, 5],
    }.items():
        ensure(await trial.listed(name, 100, text), names_of(wanted), f"what matches {text}")
        found = await trial.search(name, by(random_vectors(1, 7)[0]), filter_text=text, top_k=50)
        ensure(sorted(found), names_of(wanted), f"what a search with {text} finds")


async def check_prefix(trial: Trial) -> None:
    """Texts are found by their beginning."""
    name = await _colored(trial)
    ensure(await trial.listed(name, 9, 'color = "ab*"'), names_of([0, 1]), "what begins with ab")


async def check_substring(trial: Trial) -> None:
    """Texts are found by their middle."""
    name = await _colored(trial)
    ensure(await trial.listed(name, 9, 'color = "*b*"'), names_of([0, 1, 2]), "what has a b")


async def check_hostile_texts(trial: Trial) -> None:
    """Nothing in a text is ever a part of an expression."""
    name = await trial.new(attributes=ATTRIBUTES)
    hostile = ['say "no"', "back\\slash", "' or 1 == 1 --", '"] or id in ["', "50 %_", "\t\n\r\x07"]
    await trial.write(name, *(priced(i, color=text) for i, text in enumerate(hostile)))
    for i, text in enumerate(hostile):
        quoted = text.replace("\\", "\\\\").replace('"', '\\"')
        found = await trial.listed(name, 9, f'color = "{quoted}"')
        ensure(found, [name_of(i)], f"what has the text {text!r}")


async def check_range(trial: Trial) -> None:
    """Only hits with scores in the range come."""
    name, rows = await _filled(trial, Metric.COSINE)
    query = random_vectors(1, 97)[0]
    scores = [each.score for each in (await trial.ask(name, by(query), top_k=_ROWS)).hits]
    ensure(len(scores), len(rows), "all rows")
    low, high = (scores[20] + scores[21]) / 2, (scores[9] + scores[10]) / 2
    query_in_range = by(query, min_score=low, max_score=high)
    found = await trial.search(name, query_in_range, top_k=_ROWS)
    ensure(len(found), 11, "hits in the range")


async def check_pages(trial: Trial) -> None:
    """Pages of a search follow each other without gaps."""
    name, rows = await _filled(trial, Metric.COSINE)
    query = random_vectors(1, 96)[0]
    pages = [await trial.search(name, by(query), top_k=7, offset=7 * each) for each in range(6)]
    wanted = _nearest(Metric.COSINE, rows, query, 42)
    ensure([each for page in pages for each in page], wanted, "six pages")


async def check_groups(trial: Trial) -> None:
    """Hits are grouped by an attribute, the best of each group first."""
    name = await trial.new(attributes=ATTRIBUTES)
    rows = random_vectors(60, 12)
    await trial.write(name, *(priced(i, rows[i], color=f"c{i % 5}") for i in range(60)))
    query = random_vectors(1, 95)[0]
    order = [int(each[1:]) for each in _nearest(Metric.COSINE, rows, query, 60)]
    best = {color: [i for i in order if i % 5 == color][:2] for color in range(5)}
    wanted = [names_of(best[color]) for color in dict.fromkeys(i % 5 for i in order)]
    grouping = GroupBy(field="color", size=2)
    result = await trial.ask(name, by(query), group_by=grouping, top_k=5)
    found = [[each.record.id for each in group.hits] for group in result.groups]
    ensure(found, wanted, "groups")


async def check_window(trial: Trial) -> None:
    """A search may look at 10,000 entities."""
    name = await trial.new()
    rows = random_vectors(1500, 2)
    for start in range(0, 1500, 500):
        await trial.write(name, *(entity(i, rows[i]) for i in range(start, start + 500)))
    found = await trial.search(name, by(rows[0]), top_k=10_000)
    ensure(len(found), 1500, "hits")


async def check_consistency(trial: Trial) -> None:
    """A search sees a write by its token, and strong ones see every write."""
    name = await trial.new()
    for number in range(3):
        vector = random_vectors(1, number)[0]
        report = await trial.write(name, entity(number, vector))
        token = format_consistency_token(report.position)
        bounded = Consistency.BOUNDED
        found = await trial.search(name, by(vector), consistency=bounded, consistency_token=token)
        ensure(found[:1], [name_of(number)], "the write, by its token")
        ensure((await trial.search(name, by(vector)))[0], name_of(number), "the write, strongly")


async def check_together(trial: Trial) -> None:
    """Searches at the same time get the answers that they get alone."""
    name, _ = await _filled(trial, Metric.COSINE)
    queries = list(random_vectors(16, 94))
    alone = [await trial.search(name, by(each)) for each in queries]
    together = await asyncio.gather(*(trial.search(name, by(each)) for each in queries))
    ensure(list(together), alone, "answers at the same time")


async def _filled(
    trial: Trial, metric: Metric, index: IndexType = IndexType.AUTO
) -> tuple[str, Dense]:
    name = await trial.new(vectors(metric, index=index, dimensions=DIMENSIONS))
    rows = random_vectors(_ROWS, 3)
    await trial.write(name, *(entity(i, row) for i, row in enumerate(rows)))
    return name, rows


async def _texts(trial: Trial) -> str:
    name = await trial.new(text_analyzer="standard")
    texts = ("a dog in a garden", "a house by the lake", "a feline on a sofa", "a red car")
    await trial.write(name, *(entity(i, text=text) for i, text in enumerate(texts)))
    return name


async def _colored(trial: Trial) -> str:
    name = await trial.new(attributes=ATTRIBUTES)
    colors = ("ab", "abc", "b", "c")
    await trial.write(name, *(priced(i, color=color) for i, color in enumerate(colors)))
    return name


def _nearest(metric: Metric, rows: Dense, query: Dense, count: int) -> list[str]:
    order = np.argsort(-_SIMILARITY[metric](rows, query), kind="stable")
    return names_of([int(each) for each in order[:count]])


def _packed(row: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> Bits:
    return Bits(np.packbits(row, bitorder="little").tobytes(), len(row))


def _metric(metric: Metric, title: str) -> Feature:
    return Feature(f"dense-{metric}", title, functools.partial(check_metric, metric=metric))


def _index(index: IndexType) -> Feature:
    name = index.replace("_", "-")
    check = functools.partial(check_index, index=index)
    return Feature(f"index-{name}", f"Index {index.upper()}", check)


def _bits(name: str, title: str, metric: Metric, index: IndexType = IndexType.AUTO) -> Feature:
    check = functools.partial(check_bits, metric=metric, index=index)
    return Feature(f"bits-{name}", title, check)


FEATURES: Final = (
    _metric(Metric.COSINE, "Dense vectors by cosine"),
    _metric(Metric.INNER_PRODUCT, "Dense vectors by inner product"),
    _metric(Metric.EUCLIDEAN, "Dense vectors by Euclidean distance"),
    *(_index(each) for each in IndexType if each is not IndexType.AUTO),
    _bits("hamming", "Binary vectors by Hamming distance, exact", Metric.HAMMING),
    _bits("tanimoto", "Binary vectors by Tanimoto coefficient, exact", Metric.TANIMOTO),
    _bits("ivf-flat", "Index IVF_FLAT for binary vectors", Metric.HAMMING, IndexType.IVF_FLAT),
    Feature("sparse-vectors", "Sparse vectors that callers bring", check_sparse),
    Feature("several-vectors", "Several vector fields in a collection", check_several_vectors),
    Feature("keyword", "Keyword queries (BM25)", check_keyword),
    Feature("hybrid", "Vectors and keywords together", check_hybrid),
    Feature("filters", "Filters, also on undeclared attributes", check_filters),
    Feature("filter-prefix", "Filters by the beginning of a text", check_prefix),
    Feature("filter-substring", "Filters by the middle of a text", check_substring),
    Feature("hostile-texts", "Hostile texts stay texts", check_hostile_texts),
    Feature("range", "Range of scores", check_range),
    Feature("pages", "Pages of a search", check_pages),
    Feature("groups", "Groups", check_groups),
    Feature("window", "Windows of 10,000", check_window),
    Feature("consistency", "Read your own writes", check_consistency),
    Feature("together", "Searches that leave as one request", check_together),
)
