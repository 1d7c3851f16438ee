"""Our two-sample statistics against SciPy's, and their edges."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from scipy.spatial.distance import jensenshannon

from nbmlops.stats.distances import chi_square, js, ks, ks_p_value, ks_sorted, psi, psi_by_chance, wasserstein


@pytest.mark.parametrize("decimals", [None, 1])
@pytest.mark.parametrize("shift", [0.0, 0.02, 0.4])
@pytest.mark.parametrize(("n", "m"), [(1, 1), (3, 50), (700, 700), (5_000, 9_000), (30_000, 12_000)])
def test_ks_statistic_is_bitwise_scipys(n, m, shift, decimals):
    rng = np.random.default_rng([n, m])
    a, b = rng.normal(size=n), rng.normal(shift, size=m)
    if decimals is not None:
        a, b = a.round(decimals), b.round(decimals)
    assert ks_sorted(np.sort(a), np.sort(b)) == stats.ks_2samp(a, b, method="exact" if n < 100 else "asymp").statistic


def test_ks_p_value_is_scipys_below_ten_thousand_and_close_above():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=3_000), rng.normal(0.04, size=5_000)
    assert ks(a, b)[1] == pytest.approx(stats.ks_2samp(a, b, method="asymp").pvalue, rel=1e-12)
    effective = 50_000
    for x in (0.4, 1.0, 1.6, 2.5):
        exact = stats.kstwo.sf(x / math.sqrt(effective), effective)
        assert ks_p_value(x / math.sqrt(effective), 100_000, 100_000) == pytest.approx(exact, rel=1e-3)
    assert ks_p_value(0.0, 100_000, 100_000) == 1.0


def test_ks_with_infinities_and_constants():
    assert ks_sorted(np.array([-np.inf, 0.0, np.inf]), np.array([-np.inf, 0.0, np.inf])) == 0
    assert ks_sorted(np.zeros(10), np.zeros(7)) == 0
    assert ks_sorted(np.zeros(10), np.ones(7)) == 1


@pytest.mark.parametrize(("n", "m"), [(1, 1), (40, 40), (7, 1_000), (3_000, 2_001)])
def test_wasserstein_equals_scipy(n, m):
    rng = np.random.default_rng([m, n])
    a, b = np.sort(rng.exponential(size=n)), np.sort(rng.normal(size=m))
    assert wasserstein(a, b) == pytest.approx(stats.wasserstein_distance(a, b), rel=1e-12)


def test_psi_by_hand_and_with_empty_bins():
    assert psi([50, 50], [50, 50]) == 0
    assert psi([50, 50], [80, 20]) == pytest.approx(0.3 * math.log(0.8 / 0.5) - 0.3 * math.log(0.2 / 0.5))
    assert psi([50, 50, 0], [80, 20, 0]) == psi([50, 50], [80, 20])
    assert psi([100, 0], [50, 50]) == pytest.approx(-0.5 * math.log(0.5) + 0.495 * math.log(0.5 / 0.005))
    assert math.isnan(psi([0, 0], [1, 2]))


def test_psi_by_chance_is_rarely_exceeded_without_drift():
    rng = np.random.default_rng(1)
    bound = psi_by_chance(10, 1_000, 200, 0.01)
    draws = [psi(rng.multinomial(1_000, [0.1] * 10), rng.multinomial(200, [0.1] * 10)) for _ in range(2_000)]
    assert 0.002 < np.mean(np.array(draws) > bound) < 0.02
    assert psi_by_chance(1, 10, 10, 0.01) == 0


def test_js_equals_scipy():
    a, b = [10, 0, 30, 5], [1, 7, 30, 0]
    assert js(a, b) == pytest.approx(jensenshannon(a, b, base=2), rel=1e-12)
    assert js([1, 0], [0, 1]) == 1
    assert js([3, 4], [3, 4]) == 0
    assert math.isnan(js([0], [1]))


def test_chi_square_equals_scipy_with_unseen_categories():
    before, after = {"a": 30, "b": 20, "gone": 4}, {"a": 25, "b": 31, "new": 9}
    expected = stats.chi2_contingency([[30, 20, 4, 0], [25, 31, 0, 9]], correction=False)
    assert chi_square(before, after) == pytest.approx((expected.statistic, expected.pvalue), rel=1e-12)
    assert chi_square({"a": 3}, {"a": 900}) == (0.0, 1.0)
    assert chi_square({}, {"a": 3, "b": 2}) == (0.0, 1.0)
