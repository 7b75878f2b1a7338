"""A key is rotated: a second secret, an overlap, and an end that holds."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.conf import settings
from django.utils import timezone

from tenants import keys
from tenants.keyring import AlreadyRotated, RotationRefused
from tenants.models import ApiKey, Issued, KeySecret, Tenant
from tenants.values import Caller

pytestmark = pytest.mark.django_db

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def issued() -> Issued:
    acme = Tenant.objects.create(slug="acme", name="Acme")
    return ApiKey.objects.issue(acme, "support bot", peppers=settings.KEY_PEPPERS)


def rotate(issued: Issued, overlap: timedelta, **more: int) -> keys.Key:
    return issued.row.rotate(overlap, settings.KEY_PEPPERS, **more)


def holder(key: keys.Key) -> Caller:
    caller = KeySecret.objects.identify(key, settings.KEY_PEPPERS)
    assert caller is not None
    return caller


def test_the_key_stays_the_same_under_a_new_secret(issued: Issued) -> None:
    new = rotate(issued, HOUR)
    assert new.text != issued.key.text and new.mode == issued.key.mode
    assert holder(new).key_id == holder(issued.key).key_id == issued.row.pk
    assert ApiKey.objects.count() == 1


def test_the_old_secret_ends_after_the_overlap_and_the_new_one_does_not(issued: Issued) -> None:
    new, now = rotate(issued, DAY), timezone.now()
    old = holder(issued.key)
    assert old.rotated and old.expires_at is not None
    assert abs(old.expires_at - (now + DAY).timestamp()) < 10
    assert holder(new).expires_at is None and not holder(new).rotated


def test_without_an_overlap_the_old_secret_ends_at_once(issued: Issued) -> None:
    rotate(issued, timedelta())
    ends = holder(issued.key).expires_at
    assert ends is not None and ends <= timezone.now().timestamp()


def test_a_key_that_ends_before_its_old_secret_is_expired_not_rotated(issued: Issued) -> None:
    issued.row.expires_at = timezone.now() + HOUR
    issued.row.save()
    rotate(issued, DAY)
    old = holder(issued.key)
    assert not old.rotated and old.expires_at == issued.row.expires_at.timestamp()


def test_two_secrets_work_at_most(issued: Issued) -> None:
    second = rotate(issued, HOUR)
    with pytest.raises(RotationRefused, match="Two secrets of this key work already"):
        rotate(issued, HOUR)
    rotate(issued, timedelta())  # a leak cannot wait: everything before it ends
    now = timezone.now().timestamp()
    assert all((holder(key).expires_at or now + 1) <= now for key in (issued.key, second))


def test_an_old_secret_that_has_ended_is_no_obstacle(issued: Issued) -> None:
    rotate(issued, HOUR)
    KeySecret.objects.filter(expires_at__isnull=False).update(expires_at=timezone.now())
    rotate(issued, HOUR)
    live = [secret for secret in issued.row.secrets.all() if secret.is_live(timezone.now())]
    assert (len(live), issued.row.secrets.count()) == (2, 3)


def test_asking_twice_rotates_once(issued: Issued) -> None:
    seen = issued.row.secrets.get().pk
    rotate(issued, HOUR, replacing=seen)
    with pytest.raises(AlreadyRotated):
        rotate(issued, HOUR, replacing=seen)
    assert issued.row.secrets.count() == 2


def test_an_end_is_never_moved_later(issued: Issued) -> None:
    rotate(issued, HOUR)
    old = issued.row.secrets.order_by("pk")[0]
    ends = old.expires_at
    old.end(timezone.now() + DAY)
    old.refresh_from_db()
    assert old.expires_at == ends


def test_the_overlap_can_be_cut_short(issued: Issued) -> None:
    new = rotate(issued, DAY)
    issued.row.end_old_secrets()
    ends = holder(issued.key).expires_at
    assert ends is not None and ends <= timezone.now().timestamp()
    assert holder(new).expires_at is None


def test_the_only_secret_of_a_key_is_not_an_old_one(issued: Issued) -> None:
    assert issued.row.old_secret is None
    issued.row.end_old_secrets()
    assert holder(issued.key).expires_at is None


def test_a_revoked_or_expired_key_is_not_rotated(issued: Issued) -> None:
    issued.row.expires_at = timezone.now() - HOUR
    issued.row.save()
    with pytest.raises(RotationRefused, match="has expired"):
        rotate(issued, HOUR)
    issued.row.revoke("leaked")
    with pytest.raises(RotationRefused, match="is revoked"):
        rotate(issued, timedelta())
    assert KeySecret.objects.count() == 1


def test_networks_and_tags_that_are_none_are_never_stored(issued: Issued) -> None:
    tenant, peppers = issued.row.tenant, settings.KEY_PEPPERS
    with pytest.raises(ValueError, match="neither an address"):
        ApiKey.objects.issue(tenant, "x", peppers=peppers, networks=["office"])
    with pytest.raises(ValueError, match="is not a tag"):
        ApiKey.objects.issue(tenant, "x", peppers=peppers, tags={"a b": "c"})
    assert ApiKey.objects.count() == 1
