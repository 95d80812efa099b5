"""Plays scenarios for another version of the package; started by path, in the older one's environment.

It keeps to what every version has: `inferencesim.simulate` of a mapping. Work comes as one JSON document on stdin
(``trees``, ``seeds``); each summary leaves as one JSON document on a line of its own, tree by tree.
"""

from __future__ import annotations

import json
import sys


def main() -> int:
    """Play everything; return 2 where this version refuses, with the reason on the last line."""
    import inferencesim

    work = json.load(sys.stdin)
    for tree in work["trees"]:
        for seed in work["seeds"]:
            try:
                summary = inferencesim.simulate(tree, seed=seed).summary
            except inferencesim.InputError as problem:
                _tell({"refused": str(problem)})
                return 2
            _tell(summary.model_dump(mode="json"))
    return 0


def _tell(document: object) -> None:
    sys.stdout.write(json.dumps(document) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
