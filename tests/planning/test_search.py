"""The search for the fewest draws: right to 1 %, few looks, and an end in every case."""

import math

import pytest

from rsbounds.planning._search import fewest_draws


def counted(function):
    looks = []

    def reached(n):
        assert isinstance(n, int)
        looks.append(n)
        return function(n)

    return reached, looks


@pytest.mark.parametrize("need", [1, 2, 3, 17, 59, 999, 1000, 1001, 12_345, 10**6])
@pytest.mark.parametrize("power", [0.5, 0.25, 1.0])
def test_the_fewest_draws_are_found_to_a_hundredth(need, power):
    # A gap to 1 that closes as n^-power, and a target that `need` draws just reach.
    target = 1.0 - 0.4 * (need - 1e-3) ** -power
    reached, looks = counted(lambda n: max(1.0 - 0.4 * n**-power, 0.0))
    found = fewest_draws(reached, target, 1.0, 10**7)
    assert need <= found <= max(need + 1, 1.011 * need)
    assert len(looks) < 25
    if power == 0.5 and need > 50:
        assert len(looks) <= 6


def test_steps_and_abstentions_are_no_trap():
    for need in (1, 2, 777, 54_321):
        reached, looks = counted(lambda n, need=need: 0.5 if n >= need else 0.0)
        assert need <= fewest_draws(reached, 0.4, 0.6, 10**6) <= max(need + 1, 1.011 * need)
        assert len(looks) < 60


def test_what_no_draws_reach_ends():
    for limit in (1, 2, 999, 1000, 10**12):
        reached, looks = counted(lambda n: 0.3)
        assert fewest_draws(reached, 0.4, 0.6, limit) is None
        assert max(looks) == limit
        assert len(looks) < 60
        reached, looks = counted(lambda n: 0.0)
        assert fewest_draws(reached, 0.4, 0.6, limit) is None
        assert len(looks) < 60
        # Just out of reach, however near it comes.
        reached, looks = counted(lambda n: 0.4 - 1.0 / n)
        assert fewest_draws(reached, 0.4, math.nextafter(0.4, 1), limit) is None
        assert len(looks) < 200


def test_the_limit_itself_may_do():
    for limit in (1, 2, 999, 5000):
        reached, _ = counted(lambda n, limit=limit: 0.5 if n >= limit else 0.0)
        assert fewest_draws(reached, 0.4, 0.6, limit) == limit


def test_a_noisy_function_ends():
    reached, looks = counted(lambda n: 1.0 - 10.0 / math.sqrt(n) + 0.02 * math.sin(n * 1e6))
    assert 5_000 < fewest_draws(reached, 0.9, 1.0, 10**7) < 20_000
    assert len(looks) < 200
