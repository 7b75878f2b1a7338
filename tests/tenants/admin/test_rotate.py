"""A key is rotated in the console: choose the overlap, see the new key once, end the old secret."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpResponse
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from tenants import keys
from tenants.models import ApiKey, AuditEvent, Issued, KeySecret, User
from tests.tenants.admin.conftest import KEY, allowed, signed_in


def page(issued: Issued, name: str = "rotate") -> str:
    return reverse(f"admin:tenants_apikey_{name}", args=(issued.row.pk,))


def rotate(client: Client, issued: Issued, **fields: Any) -> HttpResponse:
    """Opens the page and sends its form."""
    replacing = client.get(page(issued)).context["form"]["replacing"].value()
    return client.post(page(issued), {"overlap": "24h", "replacing": replacing, **fields})


def text(response: HttpResponse) -> str:
    return response.content.decode()


def ends_of(key: keys.Key) -> float | None:
    caller = KeySecret.objects.identify(key, settings.KEY_PEPPERS)
    assert caller is not None
    return caller.expires_at


@pytest.mark.parametrize(("overlap", "seconds"), [("now", 0), ("1h", 3600), ("24h", 86_400), ("7d", 604_800)])
def test_the_old_secret_works_on_for_as_long_as_was_chosen(
    as_alice: Client, bobs_key: Issued, overlap: str, seconds: int
) -> None:
    response = rotate(as_alice, bobs_key, overlap=overlap)
    assert response.status_code == 200 and response.headers["Cache-Control"] == "no-store"
    new = keys.recognise(KEY.findall(text(response))[0])
    assert new is not None and ends_of(new) is None
    ends = ends_of(bobs_key.key)
    assert ends is not None and abs(ends - timezone.now().timestamp() - seconds) < 30
    assert "Key rotated" in text(response)


def test_a_moment_of_ones_own_can_be_chosen(as_alice: Client, bobs_key: Issued) -> None:
    rotate(as_alice, bobs_key, overlap="custom", until="2099-05-01T12:30")
    ends = ends_of(bobs_key.key)
    assert ends is not None and abs(ends - datetime(2099, 5, 1, 12, 30, tzinfo=UTC).timestamp()) < 1


@pytest.mark.parametrize("until", ["", "2020-01-01T00:00", "tomorrow"])
def test_a_moment_that_is_none_rotates_nothing(as_alice: Client, bobs_key: Issued, until: str) -> None:
    response = rotate(as_alice, bobs_key, overlap="custom", until=until)
    assert "errorlist" in text(response)
    assert KeySecret.objects.count() == 1


def test_a_form_sent_twice_rotates_once(as_alice: Client, bobs_key: Issued) -> None:
    fields = {"overlap": "24h", "replacing": bobs_key.row.secrets.get().pk}
    first, second = as_alice.post(page(bobs_key), fields), as_alice.post(page(bobs_key), fields)
    assert KEY.search(text(first))
    assert "has been replaced" in text(second) and not KEY.search(text(second))
    assert KeySecret.objects.count() == 2
    assert AuditEvent.objects.filter(action="key.rotated").count() == 1


def test_looking_at_the_page_rotates_nothing(as_alice: Client, bobs_key: Issued) -> None:
    assert bobs_key.key.hint in text(as_alice.get(page(bobs_key)))
    assert KeySecret.objects.count() == 1


def test_the_keys_page_lists_its_secrets_and_their_ends(as_alice: Client, bobs_key: Issued) -> None:
    new = keys.recognise(KEY.findall(text(rotate(as_alice, bobs_key)))[0])
    shown = text(as_alice.get(page(bobs_key, "change")))
    assert new is not None and new.hint in shown and bobs_key.key.hint in shown
    assert "rotating, old secret ends" in shown and "in 23 h" in shown
    assert 'id="end-old-secret"' in shown


def test_a_third_secret_has_to_wait_for_the_first_to_end(as_alice: Client, bobs_key: Issued) -> None:
    rotate(as_alice, bobs_key)
    response = rotate(as_alice, bobs_key)
    assert "Two secrets of this key work already" in text(response)
    assert KeySecret.objects.count() == 2


def test_the_old_secret_can_be_ended_with_a_reason(as_alice: Client, bobs_key: Issued) -> None:
    new = keys.recognise(KEY.findall(text(rotate(as_alice, bobs_key)))[0])
    as_alice.post(page(bobs_key, "end-old-secret"), {"reason": "everyone has changed over"})
    ends = ends_of(bobs_key.key)
    assert ends is not None and ends <= timezone.now().timestamp()
    assert new is not None and ends_of(new) is None
    assert (
        "everyone has changed over"
        in AuditEvent.objects.get(action="key.secret_ended", context__contains="reason").context
    )
    assert 'id="end-old-secret"' not in text(as_alice.get(page(bobs_key, "change")))


def test_a_revoked_key_offers_no_rotation(as_alice: Client, bobs_key: Issued) -> None:
    seen = bobs_key.row.secrets.get().pk
    bobs_key.row.revoke("leaked")
    assert 'id="rotate"' not in text(as_alice.get(page(bobs_key, "change")))
    response = as_alice.post(page(bobs_key), {"overlap": "now", "replacing": seen})
    assert "is revoked" in text(response)
    assert KeySecret.objects.count() == 1


def test_carol_cannot_rotate(as_carol: Client, bobs_key: Issued) -> None:
    assert as_carol.get(page(bobs_key)).status_code == 403
    fields = {"overlap": "now", "replacing": bobs_key.row.secrets.get().pk}
    assert as_carol.post(page(bobs_key), fields).status_code == 403
    assert as_carol.post(page(bobs_key, "end-old-secret"), {"reason": "spite"}).status_code == 403
    assert 'id="rotate"' not in text(as_carol.get(page(bobs_key, "change")))
    assert KeySecret.objects.count() == 1


def test_whoever_may_change_keys_may_rotate_them(carol: User, bobs_key: Issued) -> None:
    bob = signed_in(allowed(carol, "change_apikey"))
    assert KEY.search(text(rotate(bob, bobs_key)))


def test_the_new_key_is_on_no_page_afterwards(as_alice: Client, bobs_key: Issued) -> None:
    key = KEY.findall(text(rotate(as_alice, bobs_key)))[0]
    secret = key.removeprefix("sk-bridge_live_")[8:]
    for name in ("change", "history", "rotate", "revoke"):
        assert secret not in text(as_alice.get(page(bobs_key, name)))
    assert ApiKey.objects.count() == 1
