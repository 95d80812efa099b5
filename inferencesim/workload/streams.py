"""Named random streams: the same seed and name give the same numbers, whatever else is drawn."""

from __future__ import annotations

import hashlib

import numpy as np


def stream(seed: int, *names: str | int) -> np.random.Generator:
    """Return the random stream called `names` under `seed`.

    Streams of different names are independent, and none is advanced by the
    use of another, so that two policies meet the same load (common random
    numbers), and one class can change without the others noticing.

    Parameters
    ----------
    seed : int
        The scenario's seed.
    *names : str or int
        What the stream is for, from the coarse to the fine: a class, a
        purpose, and where needed a client or a block.

    Returns
    -------
    numpy.random.Generator
        A Philox generator keyed by the SHA-256 of seed and names (Salmon et
        al., "Parallel random numbers: as easy as 1, 2, 3", SC'11).
    """
    # Type and length travel with each name, so that ("ab", "c") and ("a", "bc"), or 1 and "1", differ.
    text = "".join(f"{type(name).__name__}{len(str(name))}:{name}" for name in (seed, *names))
    digest = hashlib.sha256(text.encode()).digest()
    return np.random.Generator(np.random.Philox(key=int.from_bytes(digest[:16], "little")))


def session_base(name: str) -> int:
    """Return the first session id of the class `name`, so that ids of two classes do not meet.

    It follows from the name alone: adding a class does not renumber another's sessions.
    """
    digest = hashlib.sha256(name.encode()).digest()
    return (int.from_bytes(digest[:4], "little") >> 1) << 32
