"""Sharing what is scarce: slots of a worker, and a quota upstream that one tenant would use up alone."""

from __future__ import annotations

import random

import pytest

from tenants.fairness import Fairness

ACME, OTHER = 1, 2


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


def entered(fairness: Fairness, tenant: int, times: int) -> int:
    return sum(fairness.enter(tenant) is None for _ in range(times))


def test_while_there_is_plenty_anybody_has_as_much_as_they_want() -> None:
    fairness = Fairness(100)
    fairness.arrived(OTHER)
    assert entered(fairness, ACME, 75) == 75


def test_a_tenant_that_has_been_alone_for_a_minute_may_have_all(clock: Clock) -> None:
    fairness = Fairness(100, clock)
    fairness.arrived(OTHER)
    clock.now += 61
    assert entered(fairness, ACME, 100) == 100
    fairness.arrived(OTHER)
    fairness.leave(ACME, 0)
    assert fairness.enter(ACME) is not None, "from now on room is kept"
    assert fairness.enter(OTHER) is None


def test_the_last_quarter_is_for_those_who_have_less_than_their_part() -> None:
    fairness = Fairness(100)
    fairness.arrived(OTHER)
    assert entered(fairness, ACME, 500) == 75
    assert entered(fairness, OTHER, 500) == 33
    third = [fairness.enter(3) for _ in range(30)]
    assert third.count(None) == 25, "of four parts, for whoever comes next"
    assert third[-1] is not None and (third[-1].what, third[-1].own, third[-1].share) == ("slots", 25, 25)


def test_whoever_leaves_makes_room() -> None:
    fairness = Fairness(100)
    fairness.arrived(OTHER)
    entered(fairness, ACME, 75)
    assert fairness.enter(ACME) is not None
    fairness.leave(ACME, 0)
    assert fairness.enter(ACME) is None


def test_a_quota_that_is_used_up_is_shared(clock: Clock) -> None:
    fairness = Fairness(100, clock)
    for tenant, tokens in ((ACME, 9000), (OTHER, 1000)):
        fairness.enter(tenant)
        fairness.leave(tenant, tokens)
    assert fairness.enter(ACME) is None, "nobody waits before upstream has said a word"
    fairness.press(20)
    unfair = fairness.enter(ACME)
    assert unfair is not None and (unfair.own, unfair.total, unfair.share) == (9000, 10_000, 5000)
    assert unfair.wait == pytest.approx(20)
    assert fairness.enter(OTHER) is None
    assert fairness.enter(3) is None, "a newcomer has used nothing"
    clock.now += 21
    assert fairness.enter(ACME) is None


def test_a_tenant_that_is_alone_waits_for_nobody(clock: Clock) -> None:
    fairness = Fairness(100, clock)
    fairness.enter(ACME)
    fairness.leave(ACME, 9000)
    fairness.press(None)
    assert fairness.enter(ACME) is None


def test_what_was_used_is_forgotten(clock: Clock) -> None:
    fairness = Fairness(100, clock)
    for tenant, tokens in ((ACME, 9000), (OTHER, 1000)):
        fairness.enter(tenant)
        fairness.leave(tenant, tokens)
    clock.now += 1000
    fairness.press(20)
    assert fairness.enter(ACME) is None and fairness._used == {}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.mark.parametrize("fair", [False, True])
def test_a_modest_tenant_beside_a_greedy_one(clock: Clock, fair: bool) -> None:
    """An account with 10 requests a second; one tenant sends 100 a second, the other 2."""
    chance, fairness, left, got, asked = random.Random(1), Fairness(1000, clock), 10.0, {1: 0, 2: 0}, {1: 0, 2: 0}
    for _ in range(102 * 120):
        clock.now += 1 / 102
        left = min(10.0, left + 10 / 102)
        tenant = ACME if chance.random() < 100 / 102 else OTHER
        asked[tenant] += 1
        if fairness.enter(tenant) is not None:
            continue
        if left >= 1:
            left -= 1
            got[tenant] += 1
            fairness.leave(tenant, 1000)
        else:
            fairness.leave(tenant, 0)
            if fair:
                fairness.press(1)
    served = got[OTHER] / asked[OTHER]
    assert served > 0.8 if fair else served < 0.3
    assert sum(got.values()) > 400, "and the account is not left idle for it"
