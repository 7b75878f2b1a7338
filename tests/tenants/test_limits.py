"""What limits mean, whoever counts: the rules of every store, tried on the one in memory with a clock of our own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tenants.limits import Away, Limit, Limiter, Taken, Unit
from tenants.limits_memory import MemoryStore

SECOND = 1_000_000_000


class Clock:
    def __init__(self) -> None:
        self.now = 5_000 * SECOND

    def __call__(self) -> int:
        return self.now

    def wait(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(tmp_path: Path, clock: Clock) -> Any:
    store = MemoryStore(tmp_path, clock)
    yield store
    store.close()


def rpm(limit: int, scope: str = "key", **more: Any) -> Limit:
    return Limit(scope, "one", Unit.REQUESTS, limit, **more)


def tpm(limit: int, scope: str = "key", **more: Any) -> Limit:
    return Limit(scope, "one", Unit.TOKENS, limit, **more)


def at_once(limit: int, scope: str = "key", **more: Any) -> Limit:
    return Limit(scope, "one", Unit.CONCURRENCY, limit, **more)


def granted(store: MemoryStore, limit: Limit, times: int) -> int:
    return sum(store.take_now([(limit, 1)]).refused is None for _ in range(times))


@pytest.mark.parametrize("limit", [1, 7, 60, 1000, 7919])
def test_a_minute_s_worth_may_go_at_once_and_no_more(store: MemoryStore, clock: Clock, limit: int) -> None:
    assert granted(store, rpm(limit), limit + 50) == limit
    clock.wait(60 / limit)
    assert granted(store, rpm(limit), 3) == 1
    clock.wait(3600)
    assert granted(store, rpm(limit), limit + 50) == limit


def test_at_ten_times_the_load_the_rate_is_the_limit(store: MemoryStore, clock: Clock) -> None:
    got = 0
    for _ in range(6000):
        clock.wait(0.1)
        got += granted(store, rpm(60), 1)
    assert got == 60 + 600 - 1  # the burst, and ten minutes at one a second; the next one is due in a moment


def test_a_refusal_takes_nothing_of_any_limit(store: MemoryStore) -> None:
    asks = [(rpm(5), 1), (tpm(1000), 400), (at_once(9, "tenant"), 1)]
    assert [store.take_now(asks).refused for _ in range(4)] == [None, None, 1, 1]
    assert [each.remaining for each in store.peek_now([limit for limit, _ in asks])] == [3, 200, 7]


def test_of_several_the_one_to_wait_for_the_longest_is_told(store: MemoryStore) -> None:
    asks = [(rpm(60), 1), (rpm(2, "tenant"), 1)]
    granted(store, rpm(60), 60)
    granted(store, rpm(2, "tenant"), 2)
    taken = store.take_now(asks)
    assert taken.refused == 1
    assert taken.standing(1).wait == pytest.approx(30, abs=1e-3)
    assert taken.standing(0).wait == pytest.approx(1, abs=1e-3)


def test_what_is_more_than_a_minute_s_worth_never_fits(store: MemoryStore) -> None:
    taken = store.take_now([(tpm(1000), 1001)])
    assert taken.refused == 0 and taken.standing(0).wait is None
    assert store.take_now([(tpm(1000), 1000)]).refused is None


def test_tokens_that_were_not_used_come_back(store: MemoryStore) -> None:
    taken = store.take_now([(tpm(1000), 900)])
    assert taken.standing(0).remaining == 100
    taken.settle(40)
    taken.settle(40)  # the second time changes nothing
    assert store.peek_now([tpm(1000)])[0].remaining == 960


def test_tokens_over_the_estimate_are_taken_though_they_do_not_fit(store: MemoryStore, clock: Clock) -> None:
    store.take_now([(tpm(1000), 100)]).settle(3000)
    standing = store.peek_now([tpm(1000)])[0]
    assert (standing.remaining, standing.reset) == (0, pytest.approx(180))
    clock.wait(121)
    assert store.take_now([(tpm(1000), 16)]).refused is None


def test_what_comes_back_late_is_no_more_than_a_full_bucket(store: MemoryStore, clock: Clock) -> None:
    taken = store.take_now([(tpm(1000), 1000)])
    clock.wait(90)
    taken.settle(0)
    assert store.peek_now([tpm(1000)])[0].remaining == 1000
    assert granted(store, tpm(1000), 2000) == 1000


def test_a_request_that_is_to_count_as_none_gives_everything_back(store: MemoryStore) -> None:
    store.take_now([(rpm(5), 1), (tpm(1000), 900), (at_once(3), 1)]).settle(None, requests=False)
    assert [each.remaining for each in store.peek_now([rpm(5), tpm(1000), at_once(3)])] == [5, 1000, 3]


def test_a_place_is_free_again_when_its_request_has_ended(store: MemoryStore) -> None:
    first, second = store.take_now([(at_once(2), 1)]), store.take_now([(at_once(2), 1)])
    assert store.take_now([(at_once(2), 1)]).refused == 0
    first.settle(None)
    first.settle(None)
    assert store.take_now([(at_once(2), 1)]).refused is None
    assert store.take_now([(at_once(2), 1)]).refused == 0
    second.settle(5)
    assert store.peek_now([at_once(2)])[0].remaining == 1


def test_a_dark_limit_counts_and_notes_and_refuses_nothing(store: MemoryStore) -> None:
    watched, asks = rpm(2, dark=True), [(rpm(2, dark=True), 1), (rpm(9, "tenant"), 1)]
    noted = [store.take_now(asks).dark for _ in range(4)]
    assert noted == [None, None, 0, 0]
    assert [each.remaining for each in store.peek_now([watched, rpm(9, "tenant")])] == [0, 5]


def test_a_changed_limit_keeps_the_part_that_is_used(store: MemoryStore) -> None:
    granted(store, rpm(10), 5)
    assert store.peek_now([rpm(100)])[0].remaining == 50


def test_no_two_limits_are_ever_one(store: MemoryStore) -> None:
    same_name = [rpm(1), tpm(1), rpm(1, "tenant"), Limit("key", "two", Unit.REQUESTS, 1)]
    assert all(store.take_now([(limit, 1)]).refused is None for limit in same_name)
    assert all(store.take_now([(limit, 1)]).refused == 0 for limit in same_name)


class Elsewhere:
    """A shared store that can be away."""

    def __init__(self) -> None:
        self.away, self.usable, self.asked = False, True, 0

    async def take(self, asks: Any, instances: int = 1) -> Taken:
        self.asked += 1
        if self.away:
            raise Away
        return Taken(self, asks, [0 for _ in asks])

    async def peek(self, limits: Any, instances: int = 1) -> Any:
        raise Away

    def settle(self, taken: Taken, tokens: int, requests: bool) -> None: ...


async def test_while_the_shared_store_is_away_a_host_gives_out_its_part(store: MemoryStore) -> None:
    shared = Elsewhere()
    limiter = Limiter(store, shared, instances=4)
    assert (await limiter.take([(rpm(20), 1)])).store is shared
    shared.away = True
    assert [(await limiter.take([(rpm(20), 1)])).refused for _ in range(6)] == [None] * 5 + [0]
    assert (await limiter.take([(rpm(2, "tenant"), 1)])).refused is None, "never less than one"
    standing = (await limiter.peek([rpm(20)]))[0]
    assert (standing.size, standing.remaining) == (5, 0)


async def test_a_shared_store_that_is_known_to_be_away_is_not_asked(store: MemoryStore) -> None:
    shared = Elsewhere()
    shared.usable = False
    assert (await Limiter(store, shared, instances=2).take([(rpm(20), 1)])).store is store
    assert shared.asked == 0


async def test_what_nobody_can_count_passes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(tmp_path, slots=64)
    limiter = Limiter(store)
    limits = [Limit("key", str(number), Unit.REQUESTS, 1) for number in range(100)]
    taken = [await limiter.take([(limit, 1)]) for limit in limits]
    assert all(each.refused is None for each in taken)
    assert sum(bool(each.asks) for each in taken) == 64, "as many as there are slots are counted"
    assert ["requests pass" in line for line in caplog.messages] == [True]
    store.close()
