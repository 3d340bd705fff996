"""The statistics of listening tests against tables, closed forms and other programs."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction
from itertools import combinations

import numpy as np
import pytest
import scipy.optimize
import scipy.stats

from denoise_app.metrics.listening import Score, Vote, binomial_p_value, bradley_terry, fewest_right


@pytest.mark.parametrize(
    ("right", "trials", "p"),
    [(9, 10, 0.0107), (10, 10, 0.0010), (8, 10, 0.0547), (5, 10, 0.6230), (12, 16, 0.0384), (14, 20, 0.0577),
     (15, 20, 0.0207), (5, 5, 0.0312), (32, 50, 0.0325)],
)  # fmt: skip
def test_luck_is_that_of_the_binomial_table(right: int, trials: int, p: float) -> None:
    assert binomial_p_value(right, trials) == pytest.approx(p, abs=0.51e-4)


def test_luck_is_exact_for_any_number_of_trials() -> None:
    for trials in (1, 5, 10, 50):
        for right in range(trials + 1):
            tested = scipy.stats.binomtest(right, trials, 0.5, alternative="greater").pvalue
            assert binomial_p_value(right, trials) == pytest.approx(tested, rel=1e-9)
            ways = sum(math.comb(trials, k) for k in range(right, trials + 1))
            assert binomial_p_value(right, trials) == float(Fraction(ways, 2**trials))
    assert binomial_p_value(0, 0) == 1.0 and binomial_p_value(1000, 1000) == 2.0**-1000


def test_luck_is_that_of_people_who_guess() -> None:
    rng = np.random.default_rng(5)
    right = rng.integers(0, 2, (200_000, 10)).sum(axis=1)
    assert np.mean(right >= 9) == pytest.approx(binomial_p_value(9, 10), abs=0.001)


@pytest.mark.parametrize(("right", "trials"), [(-1, 10), (11, 10), (1, 0)])
def test_impossible_answers_are_refused(right: int, trials: int) -> None:
    with pytest.raises(ValueError, match="are right"):
        binomial_p_value(right, trials)


def test_enough_is_the_fewest_that_luck_hardly_explains() -> None:
    for trials in range(1, 51):
        fewest = fewest_right(trials)
        if fewest is None:
            assert trials < 5
        else:
            assert binomial_p_value(fewest, trials) < 0.05 <= binomial_p_value(fewest - 1, trials)


# ------------------------------------------------------------------------------------------------------- preferences


def drawn(strengths: dict[str, float], rounds: int, seed: int, ties: float = 0.0) -> list[Vote]:
    """Votes of people who follow the model exactly."""
    rng = np.random.default_rng(seed)
    votes = []
    for _ in range(rounds):
        for a, b in combinations(strengths, 2):
            won = rng.random() < strengths[a] / (strengths[a] + strengths[b])
            votes.append(Vote(a, b, None if rng.random() < ties else a if won else b))
    return votes


def by_name(scores: list[Score]) -> dict[str, Score]:
    return {score.name: score for score in scores}


def test_the_scores_are_those_that_make_the_votes_most_likely() -> None:
    names = ["a", "b", "c", "d"]
    votes = drawn({"a": 4.0, "b": 1.0, "c": 1.0, "d": 0.25}, 6, seed=1, ties=0.2)

    def surprise(scores: np.ndarray) -> float:
        """Minus the log-likelihood, half a win and half a loss against 0 included."""
        at = dict(zip(names, scores, strict=True))
        total = sum(0.5 * np.logaddexp(0, -s) + 0.5 * np.logaddexp(0, s) for s in scores)
        for vote in votes:
            for winner, loser in ((vote.first, vote.second), (vote.second, vote.first)):
                share = 0.5 if vote.preferred is None else float(vote.preferred == winner)
                total += share * np.logaddexp(0, at[loser] - at[winner])
        return float(total)

    best = scipy.optimize.minimize(surprise, np.zeros(4), method="BFGS", options={"gtol": 1e-8})
    found = by_name(bradley_terry(names, votes))
    np.testing.assert_allclose([found[name].score for name in names], best.x - best.x.mean(), atol=1e-5)
    covariance = np.linalg.inv(second_derivatives(surprise, best.x))
    of_mean = np.eye(4) - 0.25
    deviation = 1.959964 * np.sqrt(np.diag(of_mean @ covariance @ of_mean))
    np.testing.assert_allclose([found[name].margin for name in names], deviation, rtol=1e-3)


def second_derivatives(function: Callable[[np.ndarray], float], at: np.ndarray, step: float = 1e-3) -> np.ndarray:
    """By differences, (N, N)."""
    steps = step * np.eye(at.size)

    def mixed(i: np.ndarray, j: np.ndarray) -> float:
        ends = function(at + i + j) - function(at + i - j) - function(at - i + j) + function(at - i - j)
        return ends / (4 * step**2)

    steps = step * np.eye(at.size)
    return np.array([[mixed(i, j) for j in steps] for i in steps])


def test_many_votes_give_back_the_strengths_they_came_from() -> None:
    strengths = {"a": 3.0, "b": 1.0, "c": 0.5}
    scores = by_name(bradley_terry(list(strengths), drawn(strengths, 4000, seed=2)))
    for one, other in combinations(strengths, 2):
        difference = scores[one].score - scores[other].score
        assert difference == pytest.approx(math.log(strengths[one] / strengths[other]), abs=0.1)


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    strengths = {"a": 1.5, "b": 1.0, "c": 1 / 1.5}
    held = []
    for seed in range(200):
        scores = by_name(bradley_terry(list(strengths), drawn(strengths, 30, seed)))
        held += [abs(scores[name].score - math.log(true)) <= scores[name].margin for name, true in strengths.items()]
    assert np.mean(held) == pytest.approx(0.95, abs=0.03)


def test_the_interval_narrows_with_the_root_of_the_votes() -> None:
    few, many = (bradley_terry(["a", "b"], [Vote("a", "b", "a"), Vote("a", "b", "b")] * n) for n in (50, 5000))
    assert few[0].margin / many[0].margin == pytest.approx(10, rel=0.05)
    half = 1.96 / 4 / math.sqrt(10_000)  # the difference of scores varies by 4 / votes, each score by half of it
    assert many[0].interval == pytest.approx((0.5 - half, 0.5 + half), abs=1e-5)


def test_what_always_wins_stays_finite_and_more_votes_raise_it() -> None:
    few, many = (bradley_terry(["a", "b"], [Vote("a", "b", "a")] * count) for count in (3, 300))
    chain = bradley_terry(["a", "b", "c"], [Vote("a", "b", "a")] * 1000 + [Vote("b", "c", "b")] * 1000)
    assert [score.name for score in chain] == ["a", "b", "c"] and chain[0].score == pytest.approx(-chain[2].score)
    assert [score.name for score in few] == ["a", "b"]
    assert 0 < few[0].score < many[0].score < 10
    assert 0.5 < few[0].share < many[0].share < 1
    assert few[0].interval[0] < few[0].share < few[0].interval[1]
    assert (few[0].wins, few[0].comparisons, few[1].wins) == (3, 3, 0)


def test_no_votes_say_nothing() -> None:
    scores = bradley_terry(["b", "a"], [])
    assert [(score.name, score.score, score.share, score.comparisons) for score in scores] == [
        ("b", 0.0, 0.5, 0),
        ("a", 0.0, 0.5, 0),
    ]
    assert scores[0].interval[0] < 0.1 and scores[0].interval[1] > 0.9
    assert bradley_terry([], []) == []


def test_ties_count_half_for_each() -> None:
    scores = by_name(bradley_terry(["a", "b"], [Vote("a", "b", None)] * 4))
    assert scores["a"].score == pytest.approx(0) and scores["a"].wins == scores["b"].wins == 2
    tied = bradley_terry(["a", "b"], [Vote("a", "b", None)] * 2 + [Vote("a", "b", "a")] * 2)
    split = bradley_terry(["a", "b"], [Vote("a", "b", "a")] * 3 + [Vote("a", "b", "b")])
    assert [score.score for score in tied] == pytest.approx([score.score for score in split])


def test_neither_order_nor_side_matters() -> None:
    votes = drawn({"a": 2.0, "b": 1.0, "c": 0.7}, 5, seed=4)
    turned = [Vote(vote.second, vote.first, vote.preferred) for vote in reversed(votes)]
    first, second = by_name(bradley_terry(["a", "b", "c"], votes)), by_name(bradley_terry(["c", "b", "a"], turned))
    for name, score in first.items():
        assert (second[name].score, second[name].margin) == pytest.approx((score.score, score.margin))


@pytest.mark.parametrize(
    ("names", "vote"),
    [(["a", "a"], Vote("a", "a", "a")), (["a", "b"], Vote("a", "c", "a")), (["a", "b"], Vote("a", "a", "a")),
     (["a", "b"], Vote("a", "b", "c"))],
)  # fmt: skip
def test_votes_that_make_no_sense_are_refused(names: list[str], vote: Vote) -> None:
    with pytest.raises(ValueError, match=r"twice|between|neither"):
        bradley_terry(names, [vote])
