"""Alternatives compared: what each showed, by how much they differ, and where that is more than chance."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field

from inferencesim.results.records.base import Record

if TYPE_CHECKING:
    import pandas as pd

#: What an interval says of a difference; ``higher`` and ``lower`` where nobody can say which is better.
Conclusion = Literal["better", "worse", "higher", "lower", "no difference shown", "unknown"]

#: Stands for the alternative that is best at each metric.
BEST = "best"


class Alternative(Record):
    """One of those that are compared.

    Attributes
    ----------
    name : str
    scenario_digest : str
        Of the scenario as it was given.
    placement, balancing : str
        Its policies.
    oracle : bool
        Whether one of them knew what a real router cannot.
    states : dict of str to int
        Replications by their verdicts.
    failed : int
        Replications that could not be played to their end.
    open_share : float or None
        Mean share of promises still open at the end.
    """

    name: str
    scenario_digest: str
    placement: str
    balancing: str
    oracle: bool
    states: dict[str, int]
    failed: int
    open_share: float | None


class Trial(Record):
    """One replication of one alternative.

    Attributes
    ----------
    alternative : str
    replication : int
        From 0; with the same number, all alternatives meet the same random numbers.
    seed : int
    state : str or None
        The verdict; null where it failed.
    open_share : float or None
        Of promises.
    figures : dict of str to float or None
        By the path of the metric.
    error : str or None
        Why it failed.
    """

    alternative: str
    replication: int
    seed: int
    state: str | None = None
    open_share: float | None = None
    figures: dict[str, float | None] = Field(default_factory=dict)
    error: str | None = None


class Estimate(Record):
    """The mean of one metric over the replications of one alternative; null where one of them lacks it.

    Attributes
    ----------
    low, high : float or None
        Interval of this mean alone, at the confidence of the comparison.
    replications : int
    """

    alternative: str
    metric: str
    mean: float | None
    low: float | None
    high: float | None
    replications: int


class MeanDifference(Record):
    """By how much the mean of a metric differs between two alternatives, over replications in pairs.

    Attributes
    ----------
    difference, low, high : float or None
        alternative − against, and its interval, corrected for the number of comparisons; null where a replication
        lacks the metric.
    relative : float or None
        difference / |mean of against|.
    conclusion : str
        Anything but ``no difference shown`` only where the interval excludes zero.
    variance_ratio : float or None
        Variance of the difference in pairs over what it would be with other random numbers for each: the sum of both
        variances.
    replications : int
        Pairs.
    """

    alternative: str
    against: str
    metric: str
    difference: float | None
    low: float | None
    high: float | None
    relative: float | None
    conclusion: Conclusion
    variance_ratio: float | None
    replications: int


class Comparison(Record):
    """Alternatives on the same random numbers.

    Attributes
    ----------
    schema_version : int
        ``schema`` in JSON.
    question : str
        Of the first alternative's scenario.
    seed : int
        Of the first replication; the others' follow from it, see :func:`inferencesim.experiments.trials.seed_of`.
    against : str
        What the others are compared with; ``best``: at each metric, the best at it.
    metrics : tuple of str
        Those compared, the one that decides first.
    confidence : float
        With which all intervals of differences hold together.
    comparisons : int
        For which they are corrected.
    replications : int
        Of each alternative.
    half_width : float or None
        Wanted of the first metric's differences, as a share of the mean of what they are compared with, in the first
        replications.
    reached : bool or None
        Whether that was reached; null where none was wanted.
    warm_up_s : dict of str to float
        Of each alternative.
    notes : tuple of str
        What a reader must know, in sentences.
    alternatives : tuple of Alternative
    estimates : tuple of Estimate
    difference_rows : tuple of MeanDifference
        ``differences`` in JSON.
    trial_rows : tuple of Trial
        ``trials`` in JSON.
    """

    schema_version: Annotated[Literal[1], Field(alias="schema")] = 1
    question: str
    seed: int
    against: str
    metrics: tuple[str, ...]
    confidence: float
    comparisons: int
    replications: int
    half_width: float | None
    reached: bool | None
    warm_up_s: dict[str, float]
    notes: tuple[str, ...]
    alternatives: tuple[Alternative, ...]
    estimates: tuple[Estimate, ...]
    difference_rows: Annotated[tuple[MeanDifference, ...], Field(alias="differences")]
    trial_rows: Annotated[tuple[Trial, ...], Field(alias="trials")]

    @property
    def trials(self) -> pd.DataFrame:
        """One row per trial: alternative, replication, seed, verdict, and a column per metric."""
        import pandas as pd

        return pd.DataFrame([each.model_dump(exclude={"figures"}) | each.figures for each in self.trial_rows])

    @property
    def differences(self) -> pd.DataFrame:
        """One row per metric and alternative that was compared."""
        import pandas as pd

        columns = list(MeanDifference.model_fields)
        return pd.DataFrame([each.model_dump() for each in self.difference_rows], columns=columns)

    def estimate(self, alternative: str, metric: str) -> Estimate | None:
        """Return the mean of a metric of an alternative."""
        return next((each for each in self.estimates if (each.alternative, each.metric) == (alternative, metric)), None)

    def winner(self, metric: str) -> str | None:
        """Return the alternative shown to be better at a metric than every other; None where none is shown to be.

        What was compared decides: with all pairs (``against`` the best), any may win; with one of them, that one, or
        the other of two.
        """
        rows = [each for each in self.difference_rows if each.metric == metric]
        if rows and all(each.conclusion == "worse" for each in rows):
            return rows[0].against
        return rows[0].alternative if len(rows) == 1 and rows[0].conclusion == "better" else None
