"""A request's own page: how it ended, where its time went, what it cost, why it was refused, in words."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tenants.admin import request_page
from tenants.models import Issued, RequestRecord
from tenants.values import State
from tests.tenants.admin.conftest import Record


def page(client: Client, record: RequestRecord) -> str:
    response = client.get(reverse("admin:tenants_requestrecord_change", args=(record.pk,)))
    assert response.status_code == 200
    return response.content.decode()


def words(html: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", html).split())


@pytest.mark.parametrize("state", list(State))
def test_every_end_is_said_in_words(as_alice: Client, bobs_key: Issued, record: Record, state: State) -> None:
    assert request_page.ENDS[state] in page(as_alice, record(bobs_key.row, state=state))


def test_the_time_is_shared_out_to_the_last_microsecond() -> None:
    drawn = request_page.timing(RequestRecord(queue_us=1_000, first_token_us=600_000, total_us=1_000_000))
    assert re.findall(r'x="([\d.]+)%" width="([\d.]+)%"', drawn) == [
        ("0.000", "0.100"),
        ("0.100", "59.900"),
        ("60.000", "40.000"),
    ]
    assert "1.0 ms in Bridge" in words(drawn) and "599 ms until the first token" in words(drawn)


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"queue_us": None, "total_us": 900}, 0),  # refused
        ({"queue_us": 5, "total_us": 0}, 0),
        ({"queue_us": 5, "total_us": 900}, 2),  # no token ever came
        ({"queue_us": 0, "first_token_us": 900, "total_us": 900}, 1),
        ({"queue_us": 2_000, "first_token_us": 5_000, "total_us": 900}, 1),  # clocks
    ],
)
def test_odd_times_make_no_odd_bar(columns: dict[str, Any], parts: int) -> None:
    assert request_page.timing(RequestRecord(**columns)).count("<rect") == 2 * parts


def test_a_refusal_is_explained(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    told = {"message": "Rate limit reached.", "param": None, "rule": "rate_limit", "limit": 6000, "reasons": ["a", "b"]}
    row = record(bobs_key.row, state="refused", status=429, refusal=told)
    text = words(page(as_alice, row))
    assert "Why it was refused Rate limit reached. Rule rate_limit Limit 6,000 Reasons a, b" in text
    assert "Tokens and cost" not in text


def test_what_limits_only_watched_is_not_called_refused(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    text = words(page(as_alice, record(bobs_key.row, refusal={"dark": True, "message": "Would not fit."})))
    assert "Only watched: this would have been refused. Would not fit." in text and "Why it was refused" not in text


def test_a_bill_or_else_what_was_counted(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    line = {"class": "output", "model": "m", "tokens": 7, "pico_per_token": 15_000_000, "pico": 105_000_000}
    billed = record(bobs_key.row, output_tokens=7, cost_nanos=105_000, cost_lines=[line], held_nanos=100_000)
    text = words(page(as_alice, billed))
    assert "output m 7 $15.00 $0.000105000000" in text
    assert "$0.00010 was held, which was too little" in text
    counted = words(page(as_alice, record(bobs_key.row, output_tokens=7, reasoning_tokens=3, usage_source="bound")))
    assert "output 7 of which reasoning 3" in counted and "An upper bound" in counted


def test_the_receipt_says_what_became_of_each_thing(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    row = record(bobs_key.row, receipt="temperature=ignored, max_tokens=clamped(512), odd=strange, more=3")
    text = words(page(as_alice, row))
    assert "temperature ignored had no effect" in text
    assert "max_tokens clamped 512 brought within what is allowed" in text
    assert "odd strange" in text
    assert "went upstream as it was asked" in words(page(as_alice, record(bobs_key.row)))


def test_an_answer_that_was_given_again_leads_to_the_first(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    first = record(bobs_key.row, 60)
    again = page(as_alice, record(bobs_key.row, replay_of=first.pk))
    assert re.search(rf'href="[^"]*{first.pk}[^"]*">given again', again)
    assert "given again" not in page(as_alice, first)


def test_what_a_request_does_not_have_is_left_out(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    bare, full = (
        words(page(as_alice, row))
        for row in (
            record(bobs_key.row),
            record(bobs_key.row, end_user="u_1", tags={"team": "a"}, stop_reason="end_turn"),
        )
    )
    for label in ("End user:", "Tags:", "Stop reason:"):
        assert label not in bare and label in full
