"""Statistics of listening tests: is a difference audible (A/B/X), and which of several versions is preferred.

Pure functions of answers; nothing here knows what was listened to.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

SIGNIFICANT = 0.05  # level of significance: p below this is by custom taken for more than chance
PRIOR = 1.0  # comparisons with an average opponent that each version is given beforehand, half of them won
NORMAL_95 = 1.959964  # 97.5 % of a normal distribution lie below this many standard deviations
CLOSE_ENOUGH = 1e-10  # change of a score at which the iteration ends
LONGEST_STEP = 1.0  # of a score at once: from far away Newton's own step may overshoot
MOST_ROUNDS = 100  # far more than it takes, one for each unit of score and a handful at the end


def binomial_p_value(right: int, trials: int) -> float:
    """The p-value of an A/B/X test: the chance to be right as often or more by guessing (one-sided exact binomial).

    P(X >= right) for X ~ Bin(trials, 1/2), as a share from 0 to 1; the smaller, the less it can have been luck. It is
    worked out in whole numbers and rounded once. It holds for a number of trials that was fixed beforehand: who stops
    at a lucky moment makes it too small. Clark 1982, "High-resolution subjective testing using a double-blind
    comparator", JAES 30(5); the test is that of any table of the binomial distribution.

    Raises:
        ValueError: Not 0 <= right <= trials.

    >>> [round(binomial_p_value(right, 10), 4) for right in (0, 5, 8, 9, 10)]
    [1.0, 0.623, 0.0547, 0.0107, 0.001]
    """
    if not 0 <= right <= trials:
        raise ValueError(f"of {trials} answers 0 to {trials} are right, not {right}")
    return sum(math.comb(trials, k) for k in range(right, trials + 1)) / 2**trials


def fewest_right(trials: int) -> int | None:
    """The fewest right answers of `trials` that are significant at the 5 % level; None where no number is.

    >>> [fewest_right(trials) for trials in (4, 5, 10, 50)]
    [None, 5, 9, 32]
    """
    return next((right for right in range(trials + 1) if binomial_p_value(right, trials) < SIGNIFICANT), None)


@dataclass(frozen=True)
class Vote:
    """A comparison of two versions.

    Attributes:
        first, second: Names of what was compared.
        preferred: One of the two names; None for no difference, which counts as half a win for each.
    """

    first: str
    second: str
    preferred: str | None


@dataclass(frozen=True)
class Score:
    """How a version did in comparisons.

    Attributes:
        name: Of the version.
        wins: Comparisons won; a tie is half of one.
        comparisons: In which it took part.
        score: Logarithm of its Bradley-Terry strength, from -inf to inf; the scores of all have the mean 0. A version
            of score s is preferred to one of score t with probability 1 / (1 + e^(t - s)).
        margin: Half the width of the 95 % interval of the score, by the normal approximation at its mode.
    """

    name: str
    wins: float
    comparisons: int
    score: float
    margin: float

    @property
    def share(self) -> float:
        """How often it would be preferred to one of average score, 0 to 1."""
        return _preferred(self.score)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval of `share`."""
        return _preferred(self.score - self.margin), _preferred(self.score + self.margin)


def bradley_terry(names: Sequence[str], votes: Sequence[Vote]) -> list[Score]:
    """Scores from comparisons in pairs, the best first; equal ones keep the order of `names`.

    The model of Bradley and Terry 1952, P(i over j) = w_i / (w_i + w_j) with w = e^score, at its greatest likelihood.
    A tie is half a win for each (Hunter 2004, "MM algorithms for generalized Bradley-Terry models", whose iteration
    leads to the same scores, but by ten thousand steps where votes are lopsided; Newton's takes a dozen and needs the
    curvature that the interval comes from anyway). And each version has one more comparison, with an opponent of score
    0, half won and half lost: this prior keeps the score of what always wins finite, lets groups be compared that
    never met, and draws what was heard little towards 0. Only differences mean anything, so in the end the mean is
    taken away, from the scores and from their covariance.

    Raises:
        ValueError: A name occurs twice, or a vote is not between two of the names, or for neither of its two.

    >>> for s in bradley_terry(["a", "b"], [Vote("a", "b", "a")] * 3 + [Vote("b", "a", "b")]):
    ...     s.name, s.wins, s.comparisons, round(s.score, 2), round(s.share, 2)
    ('a', 3.0, 4, 0.47, 0.62)
    ('b', 1.0, 4, -0.47, 0.38)
    """
    wins, met = _counted(names, votes)
    scores = np.zeros(len(names))
    for _ in range(MOST_ROUNDS):
        slope, curvature = _likelihood(scores, wins, met)
        step = np.linalg.solve(curvature, slope)
        scores = scores + np.clip(step, -LONGEST_STEP, LONGEST_STEP)
        if np.all(np.abs(step) <= CLOSE_ENOUGH):
            break
    centred = np.eye(len(names)) - 1 / max(1, len(names))
    covariance = centred @ np.linalg.inv(_likelihood(scores, wins, met)[1]) @ centred
    scores = centred @ scores
    margins = NORMAL_95 * np.sqrt(np.maximum(np.diag(covariance), 0.0))
    found = [
        Score(name, float(won), int(comparisons), float(score), float(margin))
        for name, won, comparisons, score, margin in zip(names, wins, met.sum(axis=1), scores, margins, strict=True)
    ]
    return sorted(found, key=lambda score: -round(score.score, 9))


def _counted(names: Sequence[str], votes: Sequence[Vote]) -> tuple[Floats, Floats]:
    """Wins of each name (N,), and how often each two met (N, N)."""
    place = {name: index for index, name in enumerate(names)}
    if len(place) < len(names):
        raise ValueError(f"names occur twice in {list(names)}")
    wins, met = np.zeros(len(names)), np.zeros((len(names), len(names)))
    for vote in votes:
        if {vote.first, vote.second} - place.keys() or vote.first == vote.second:
            raise ValueError(f"{vote} is not between two of {list(names)}")
        if vote.preferred not in (vote.first, vote.second, None):
            raise ValueError(f"{vote} is for neither of its two")
        i, j = place[vote.first], place[vote.second]
        met[i, j] += 1
        met[j, i] += 1
        wins[i] += 0.5 if vote.preferred is None else vote.preferred == vote.first
        wins[j] += 0.5 if vote.preferred is None else vote.preferred == vote.second
    return wins, met


def _likelihood(scores: Floats, wins: Floats, met: Floats) -> tuple[Floats, Floats]:
    """Of the penalised log-likelihood by the scores: the slope (N,), and minus the curvature (N, N), which is positive
    definite."""
    chance = 1 / (1 + np.exp(scores[None, :] - scores[:, None]))
    own = 1 / (1 + np.exp(-scores))
    slope = wins - (met * chance).sum(axis=1) + PRIOR * (0.5 - own)
    doubt = met * chance * (1 - chance)
    return slope, np.diag(doubt.sum(axis=1) + PRIOR * own * (1 - own)) - doubt


def _preferred(score: float) -> float:
    return 1 / (1 + math.exp(-score))
