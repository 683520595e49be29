"""The schedule: nothing is left out, and a seed gives the same again."""

from itertools import islice

from tests.soak.boundaries import BOUNDARIES
from tests.soak.kills import EXPIRED, KILLS
from tests.soak.schedule import orders

ROUND = 2 * len(BOUNDARIES) - 1 + len(KILLS) + 1


def test_a_round_has_every_kind_and_every_boundary_before_and_after() -> None:
    some = list(islice(orders(3), ROUND))
    assert {each.kind for each in some if not each.boundary} == {*KILLS, EXPIRED}
    places = {(each.boundary, each.moment) for each in some if each.boundary}
    assert len(places) == 2 * len(BOUNDARIES) - 1
    assert {boundary for boundary, _ in places} == set(BOUNDARIES)


def test_each_boundary_meets_every_kind_in_time() -> None:
    some = islice(orders(3), 40 * ROUND)
    met = {(each.boundary, each.kind) for each in some if each.boundary}
    assert met == {(boundary, kind) for boundary in BOUNDARIES for kind in KILLS}


def test_the_seed_decides() -> None:
    first, again, other = (list(islice(orders(seed), ROUND)) for seed in (1, 1, 2))
    assert first == again != other
