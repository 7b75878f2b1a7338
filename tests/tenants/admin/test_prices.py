"""Prices in the console: what holds now, and a price of one's own."""

from __future__ import annotations

import pytest
from django.test import Client

from tenants.models import ModelPrice, User
from tests.tenants.admin.conftest import allowed, signed_in

PAGE = "/admin/tenants/modelprice/"
FORM = {
    "model": "claude-opus-5-5", "starts_at_0": "2026-11-01", "starts_at_1": "00:00:00", "note": "contract 7",
    "input": "1.25", "cache_write_5m": "2", "cache_write_1h": "3", "cache_read": "0.1", "output": "5",
    "us_multiplier": "1.1", "web_search": "10",
}  # fmt: skip


def test_the_page_shows_what_every_model_costs_and_when_that_was_checked(as_alice: Client) -> None:
    page = as_alice.get(PAGE).content.decode()
    assert "What holds now" in page and "No prices of your own" in page
    for text in (
        "claude-haiku-5-5",
        "$0.125",
        "above 100,000: $0.50 in",
        "fast ×2",
        "us ×1.1",
        "built in, checked 2026-",
    ):
        assert text in page


def test_a_price_with_a_seventh_decimal_is_refused(as_alice: Client) -> None:
    response = as_alice.post(f"{PAGE}add/", {**FORM, "input": "0.0000001"})
    assert response.status_code == 200 and not ModelPrice.objects.exists()
    assert b"decimal places" in response.content


def test_a_price_of_ones_own_is_added_and_holds(as_alice: Client) -> None:
    assert as_alice.post(f"{PAGE}add/", FORM).status_code == 302
    page = as_alice.get(PAGE).content.decode()
    assert "$1.25" in page and "site&#x27;s own" in page and "contract 7" in page


@pytest.mark.parametrize("may", [(), ("view_requestrecord",)])
def test_whoever_may_not_see_prices_does_not(carol: User, may: tuple[str, ...]) -> None:
    assert signed_in(allowed(carol, *may)).get(PAGE).status_code == 403
