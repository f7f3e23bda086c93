"""MaxSim: how well a document covers a query, token by token (Khattab and Zaharia 2020).

One vector for a whole text is an average, in which a word that matters drowns. Here every token of
the query looks for its like in the document.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lookalike_encoder.content import Vectors


def maxsim(query: Vectors, documents: Sequence[Vectors]) -> Vectors:
    """Score documents: the mean, over the query's tokens, of the cosine to the nearest one.

    `query` is float32 [tokens, d] and each document float32 [its tokens, d], all of length 1 and
    none without tokens; returns float32 [documents], from -1 to 1.
    """
    if not documents:
        return np.zeros(0, np.float32)
    ends = np.cumsum([len(each) for each in documents])
    starts = ends - [len(each) for each in documents]
    cosines = np.concatenate(documents) @ query.T
    nearest = np.maximum.reduceat(cosines, starts, axis=0)
    return np.asarray(np.clip(nearest.mean(axis=1), -1, 1), np.float32)
