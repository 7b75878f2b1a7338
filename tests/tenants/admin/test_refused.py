"""A key's page says why its last requests were refused."""

from __future__ import annotations

from django.test import Client
from django.urls import reverse

from tenants.models import Issued
from tests.tenants.admin.conftest import Record


def page(client: Client, issued: Issued) -> str:
    return client.get(reverse("admin:tenants_apikey_change", args=(issued.row.pk,))).content.decode()


def test_a_key_without_refusals_says_so(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    record(bobs_key.row)
    assert "Nothing with this key was refused" in page(as_alice, bobs_key)


def test_rule_numbers_and_what_would_have_fit_are_shown(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    refusal = {
        "message": "Rate limit reached.",
        "rule": "requests per minute",
        "level": "key",
        "limit": 60,
        "fits": None,
    }
    row = record(bobs_key.row, state="refused", status=429, error_code="rate_limit_exceeded", refusal=refusal, count=7)
    shown = page(as_alice, bobs_key)
    for text in (
        "Rate limit reached.",
        "requests per minute",
        "rate_limit_exceeded",
        "429",
        "× 7",
        ">60<",
        str(row.pk),
    ):
        assert text in shown


def test_the_newest_ten_are_shown(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    for age in range(12):
        record(bobs_key.row, age=age + 1, state="refused", status=403, refusal={"message": f"refusal {age:02}"})
    shown = page(as_alice, bobs_key)
    assert shown.index("refusal 00") < shown.index("refusal 09")
    assert "refusal 10" not in shown


def test_a_refusal_of_another_key_is_not_shown(
    as_alice: Client, bobs_key: Issued, mallorys_key: Issued, record: Record
) -> None:
    record(mallorys_key.row, state="refused", status=403, refusal={"message": "Mallory's affair"})
    assert "affair" not in page(as_alice, bobs_key)


def test_what_a_client_made_up_is_only_text(as_alice: Client, bobs_key: Issued, record: Record) -> None:
    hostile = "<script>alert(1)</script>"
    record(bobs_key.row, state="refused", error_code=hostile, refusal={"message": hostile, hostile: [hostile]})
    record(bobs_key.row, state="refused", refusal=[hostile])
    shown = page(as_alice, bobs_key)
    assert "<script>alert" not in shown and "&lt;script&gt;alert(1)" in shown
