"""Moderated variances, their test, and ends of scales, against formulas."""

import math
from dataclasses import replace

import numpy as np
import pytest
from scipy import stats
from scipy.integrate import dblquad
from scipy.optimize import brentq
from scipy.special import polygamma

from benchmark.report.statistics.estimates import against, estimate, ties, undecidable
from benchmark.report.statistics.samples import Sample, moderate
from benchmark.report.statistics.scales import CORRELATION, SHARE, UNLIKELIHOOD, scale
from benchmark.report.statistics.seeds import fitted, inverse_trigamma, moderated
from benchmark.report.statistics.tails import Error, p_values

EULER = 0.5772156649015329


@pytest.mark.parametrize("value", [0.001, 0.3, 1.7, 40.0, 3000.0])
def test_the_trigamma_function_is_inverted(value):
    assert inverse_trigamma(value) == pytest.approx(brentq(lambda x: polygamma(1, x) - value, 1e-3, 1e4), rel=1e-8)


def test_the_prior_matches_the_moments_of_the_logarithms():
    # of two degrees of freedom: digamma(1) = -Euler, trigamma(1) = pi^2 / 6
    seen = [0.02, 0.5, 3.0, 0.1, 40.0]
    logs = [math.log(v) + EULER for v in seen]
    mean = sum(logs) / 5
    unlike = sum((x - mean) ** 2 for x in logs) / 4 - math.pi**2 / 6
    half = brentq(lambda x: polygamma(1, x) - unlike, 1e-3, 1e4)
    prior, extra = fitted(np.array(seen), np.full(5, 2.0))
    assert extra == pytest.approx(2 * half)
    # digamma by its own definition, the derivative of log gamma
    digamma = (math.lgamma(half + 1e-6) - math.lgamma(half - 1e-6)) / 2e-6
    assert math.log(prior) == pytest.approx(mean + digamma - math.log(half), abs=1e-6)


def test_variances_that_differ_by_chance_alone_are_pooled():
    prior, extra = fitted(np.array([1.0, 1.1, 0.9, 1.05]), np.full(4, 2.0))
    assert extra == math.inf
    assert math.log(prior) == pytest.approx(np.log([1.0, 1.1, 0.9, 1.05]).mean() + EULER)


def test_the_fit_finds_the_prior_that_variances_were_drawn_from():
    rng = np.random.default_rng(0)
    true = 0.04 * 6 / rng.chisquare(6, 50_000)
    prior, extra = fitted(true * rng.chisquare(2, 50_000) / 2, np.full(50_000, 2.0))
    assert (prior, extra) == (pytest.approx(0.04, rel=0.05), pytest.approx(6, rel=0.1))


def test_a_variance_is_drawn_to_the_prior_and_never_below_what_was_seen():
    seen, freedom = [0.02, 0.5, 3.0, 0.1, 40.0, 0.0], [2, 2, 4, 2, 2, 0]
    known = np.array(freedom) > 0
    prior, extra = fitted(np.array(seen)[known], np.array(freedom)[known], caution=2.0)
    mixed = [(extra * prior + d * v) / (extra + d) for v, d in zip(seen, freedom, strict=True)]
    found, degrees = moderated(seen, freedom)
    assert found == pytest.approx([max(m, v) for m, v in zip(mixed, seen, strict=True)])
    assert found[0] > 2 * seen[0]
    assert found[-1] == pytest.approx(prior)  # of one seed: what the others say
    assert degrees == pytest.approx([extra + d for d in freedom])
    assert moderated(seen[:3], freedom[:3]) is None
    assert fitted(np.array(seen)[known], np.array(freedom)[known])[1] > extra  # more is trusted without caution


def test_no_more_is_known_than_all_methods_together_say():
    _, degrees = moderated([1.0] * 40, [2] * 40)
    assert degrees == pytest.approx(np.full(40, 80.0), rel=0.6)
    assert degrees.max() <= 80


def test_over_seeds_alone_it_is_students_test_and_over_examples_alone_likewise():
    seeds, examples = Error(((0.3, 2.7),), 0.0, 0.0, 10**7), Error(((0.0, 2.0),), 0.2, 0.2, 12)
    for distance in (0.3, 2.0, 9.0):
        assert p_values([distance], [seeds])[0] == pytest.approx(2 * stats.t.sf(distance / 0.3**0.5, 2.7), rel=2e-3)
    assert p_values([1.0], [examples])[0] == pytest.approx(2 * stats.t.sf(1 / 0.2**0.5, 11))


@pytest.mark.slow
def test_of_two_methods_it_averages_over_both_variances():
    error = Error(((0.5, 3.0), (0.2, 6.0)), 0.1, 0.05, 30)

    def tail(one, other):
        variance = 0.5 * 3 / one + 0.2 * 6 / other + 0.1
        return 2 * stats.t.sf(4 / math.sqrt(variance), 29) * stats.chi2.pdf(one, 3) * stats.chi2.pdf(other, 6)

    expected, _ = dblquad(tail, 0, 60, 0, 40, epsabs=1e-7)
    assert p_values([4.0, -4.0], [error] * 2) == pytest.approx([expected] * 2, rel=1e-3)
    assert p_values([error.half_width(0.95)], [error])[0] == pytest.approx(0.05)


def test_seeds_that_agree_by_luck_do_not_make_the_variance_smaller_than_that_of_examples():
    error = Error(((1e-9, 2.0),), 0.0, 0.3, 80)
    assert p_values([1.5], [error])[0] == pytest.approx(2 * stats.t.sf(1.5 / 0.3**0.5, 79))


def test_few_groups_that_all_agree_say_no_more_than_the_sign_test():
    assert p_values([1e3], [Error((), 0.1, 0.1, 9)])[0] == 2**-8


def sampled(drawn, mean=0.5, groups=0, seeds=3, **changes):
    rng = np.random.default_rng(drawn + round(1000 * abs(mean)))
    draws = {s: mean + rng.normal(0, 0.02, 400) for s in range(seeds)}
    scores = {s: mean + 0.01 * s for s in range(seeds)}
    return replace(Sample(scores, draws, "same", drawn, groups), **changes)


def test_too_few_groups_give_no_verdict_and_it_is_said():
    found = estimate(sampled(80, groups=5))
    assert (found.low, found.high, found.p, found.few) == (None, None, None, True)
    known = estimate(sampled(80, groups=6))
    assert known.low is not None
    assert (known.p, known.few) == (2**-5, False)
    rivals = {str(mean): sampled(80, mean, 6) for mean in (0.1, 0.9, 0.5)}
    assert undecidable(rivals, 3)  # 3 * 2 ** -5 is more than 0.05
    assert not undecidable(rivals, 1)
    assert not undecidable({name: replace(one, groups=12) for name, one in rivals.items()}, 3)
    assert not any(d.clear for d in against("0.1", rivals).values())


def test_examples_of_one_person_are_no_independent_evidence():
    rng = np.random.default_rng(4)
    draws = {s: rng.normal(0.5, 0.05, 4000) for s in range(3)}
    alone = {s: draws[s] - draws[s].mean() + draws[0] * 2 for s in range(3)}
    few, many = (estimate(Sample(dict.fromkeys(range(3), 0.5), alone, "same", 200, g)) for g in (8, 0))
    # drawn with replacement, eight groups vary by 7 / 8 of what they should; Student's t has seven degrees of freedom
    assert few.error == pytest.approx(many.error * math.sqrt(8 / 7 * 199 / 200), rel=1e-6)
    ratio = (few.high - few.low) / (many.high - many.low)
    assert ratio == pytest.approx(
        stats.t.isf(0.025, 7) / stats.t.isf(0.025, 199) * math.sqrt(8 / 7 * 199 / 200), rel=0.01
    )


def test_intervals_end_where_the_score_does():
    sure = estimate(sampled(80, 0.99, scale=SHARE))
    assert (sure.low > 0.9, sure.high) == (True, 1.0)
    assert estimate(sampled(80, 0.01, scale=UNLIKELIHOOD)).low == 0.0
    one, other = (sampled(80, mean, scale=CORRELATION, groups=6) for mean in (0.99, -0.99))
    wide = replace(one, draws={s: d * 300 for s, d in one.draws.items()}).paired(other)
    assert (estimate(wide).low, estimate(wide).high) == (-2.0, 2.0)
    assert estimate(wide.plus(0.5)).high == 2.5
    assert scale("bleu").within(104.0) == 100.0
    assert scale("unheard of").within(104.0) == 104.0


def test_of_a_loss_the_lowest_is_the_best():
    samples = {str(mean): sampled(80, mean, scale=UNLIKELIHOOD) for mean in (0.9, 0.2)}
    assert ties(samples) == {"0.9": "b", "0.2": "a"}
    assert ties({name: replace(one, scale=SHARE) for name, one in samples.items()}) == {"0.9": "a", "0.2": "b"}


def test_methods_of_a_comparison_lend_each_other_their_seeds():
    spreads = {"a": 0.0001, "b": 0.05, "c": 0.06, "d": 0.04, "e": 0.05}
    known = {}
    for name, spread in spreads.items():
        one = sampled(80)
        known[name] = replace(one, scores={s: 0.5 + spread * (s - 1) for s in range(3)})
    alike = dict.fromkeys(range(3), np.linspace(0, 1, 400))
    known["frozen"] = Sample(dict.fromkeys(range(3), 0.1), alike, "same", 80)
    moderated_ = moderate(known)
    ((lucky, freedom),) = moderated_["a"].spreads
    assert lucky > 100 * 0.0001**2
    assert 2 < freedom <= 10
    assert moderated_["frozen"].spreads == ((0.0, 0.0),)  # no seed is at work there
    ((wide, _),) = moderated_["c"].spreads
    assert wide >= 0.06**2
    assert moderate({name: known[name] for name in "abc"}) == {name: known[name] for name in "abc"}
    pair = moderated_["a"].paired(moderated_["b"])
    assert pair.spreads == (*moderated_["a"].spreads, *moderated_["b"].spreads)
