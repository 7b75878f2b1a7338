"""Tries to sign in: counted over workers, exact whoever comes at once, forgotten with the right password."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from tenants import throttle
from tenants.models import SignInTries

pytestmark = pytest.mark.django_db
NOW = timezone.now()


def tries(count: int, name: str = "alice", address: str = "203.0.113.7", after: timedelta = timedelta()) -> list[bool]:
    """Whether each was to be looked at."""
    return [throttle.wait(name, address, NOW + after) is None for _ in range(count)]


def test_the_sixth_try_is_not_looked_at() -> None:
    assert tries(7) == [True] * 5 + [False] * 2


def test_it_says_how_long_to_wait() -> None:
    tries(5)
    assert throttle.wait("alice", "203.0.113.7", NOW + timedelta(minutes=5)) == timedelta(minutes=10)


def test_a_quarter_of_an_hour_later_it_begins_anew() -> None:
    tries(9)
    assert tries(6, after=throttle.WINDOW) == [True] * 5 + [False]


def test_a_thousand_guesses_in_an_hour_are_twenty() -> None:
    looked_at = sum(sum(tries(1, after=timedelta(seconds=3.6 * number))) for number in range(1000))
    assert looked_at == 20


def test_the_owner_elsewhere_is_not_locked_out() -> None:
    tries(9)
    assert tries(1, address="198.51.100.1") == [True]


def test_one_address_does_not_try_many_names() -> None:
    looked_at = sum(sum(tries(1, name=f"person {number}")) for number in range(60))
    assert looked_at == throttle.FROM_ONE_ADDRESS


def test_a_network_of_one_host_is_one_place() -> None:
    assert tries(5, address="2001:db8::1") == [True] * 5
    assert tries(1, address="2001:db8::ffff:2") == [False]
    assert tries(1, address="2001:db8:0:1::1") == [True]


def test_another_way_to_write_a_name_is_the_same_name() -> None:
    assert [tries(1, name=name) for name in ("Alice", "ALICE", "alice", "ａlice", "alice", "alicE")][-1] == [False]


def test_the_right_password_forgets_the_wrong_ones() -> None:
    tries(4)
    throttle.wait("alice", "203.0.113.7", NOW)
    throttle.forgive("alice", "203.0.113.7")
    assert tries(6) == [True] * 5 + [False]


def test_no_name_and_no_address_is_kept() -> None:
    tries(2, name="my password, typed into the wrong field")
    kept = str(list(SignInTries.objects.values()))
    assert "password" not in kept and "203.0" not in kept


def test_what_is_over_is_not_kept() -> None:
    tries(3, name="one")
    tries(1, name="two", after=throttle.WINDOW * 2)
    assert SignInTries.objects.count() == 2
