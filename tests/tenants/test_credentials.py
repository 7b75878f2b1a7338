"""A tenant's own Anthropic key: encrypted, replaced, removed, re-encrypted, and never shown."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.apps import apps
from django.conf import settings
from django.core import serializers
from django.core.management import CommandError, call_command

from tenants.credentials import check
from tenants.models import ApiKey, AuditEvent, Installation, KeySecret, Tenant, UpstreamCredential
from tenants.values import Caller, Mode

pytestmark = pytest.mark.django_db

SECRET = "sk-ant-" + "api03-acmes-own-key-ABCD"
OTHER = "sk-ant-" + "api03-acmes-next-key-WXYZ"


@pytest.fixture
def acme() -> Tenant:
    return Tenant.objects.create(slug="acme", name="Acme")


@pytest.fixture
def globex() -> Tenant:
    return Tenant.objects.create(slug="globex", name="Globex")


def caller(tenant: Tenant, mode: Mode = Mode.LIVE) -> Caller:
    key = ApiKey.objects.issue(tenant, "a key", peppers=settings.KEY_PEPPERS, mode=mode).key
    found = KeySecret.objects.identify(key, settings.KEY_PEPPERS)
    assert found is not None
    return found


def test_the_live_keys_of_a_tenant_use_its_own(acme: Tenant, globex: Tenant) -> None:
    UpstreamCredential.objects.put(acme, f"  {SECRET}\n", by="alice")
    own = caller(acme).credential
    assert own is not None and (own.secret, own.hint, own.is_callers) == (SECRET, "sk-ant-…ABCD", False)
    assert caller(acme, Mode.TEST).credential is None
    assert caller(globex).credential is None


def test_it_is_stored_nowhere_in_the_clear_and_no_repr_shows_it(acme: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    UpstreamCredential.objects.put(acme, SECRET)
    UpstreamCredential.objects.put(acme, OTHER)
    everything = [serializers.serialize("json", model._default_manager.all()) for model in apps.get_models()]
    for text in (*everything, repr(caller(acme)), caplog.text):
        assert "own-key" not in text and "next-key" not in text
    assert AuditEvent.objects.filter(action="credential.replaced").count() == 1


def test_a_new_one_replaces_the_old_one_and_every_worker_hears_of_it(acme: Tenant) -> None:
    first = UpstreamCredential.objects.put(acme, SECRET)
    before = Installation.current_revision()
    second = UpstreamCredential.objects.put(acme, OTHER)
    own = caller(acme).credential
    assert own is not None and own.secret == OTHER and own.id == second.pk != first.pk
    assert Installation.current_revision() > before


def test_without_it_the_site_pays_again(acme: Tenant) -> None:
    UpstreamCredential.objects.put(acme, SECRET).delete()
    assert caller(acme).credential is None


@pytest.mark.parametrize(
    "text", ["", "sk-ant-", "sk-proj-123456789012345678901234", f"{SECRET}\nx-evil: 1", SECRET + "é"]
)
def test_what_is_no_key_of_anthropics_is_refused_and_not_repeated(acme: Tenant, text: str) -> None:
    with pytest.raises(ValueError) as refused:
        UpstreamCredential.objects.put(acme, text)
    assert len(text) < 20 or text not in str(refused.value)
    assert not UpstreamCredential.objects.exists()


def test_what_is_pasted_with_space_around_it_is_taken() -> None:
    assert check(f"\t{SECRET} \n") == SECRET


def test_a_row_moved_to_another_tenant_is_worth_nothing_there(acme: Tenant, globex: Tenant) -> None:
    UpstreamCredential.objects.put(acme, SECRET)
    UpstreamCredential.objects.update(tenant=globex)
    own = caller(globex).credential
    assert own is not None and own.secret == "", "and the site's key does not stand in for it"
    assert caller(acme).credential is None


def test_what_upstream_thinks_of_it_is_kept_until_that_changes(acme: Tenant) -> None:
    row = UpstreamCredential.objects.put(acme, SECRET)
    UpstreamCredential.objects.note(row.pk, "upstream_auth")
    own = caller(acme).credential
    row.refresh_from_db()
    assert own is not None and own.refused and row.refused_at and row.refused_as == "upstream_auth"
    before = Installation.current_revision()
    UpstreamCredential.objects.note(row.pk, "upstream_auth")
    assert Installation.current_revision() == before, "nothing new: nobody is bothered"
    UpstreamCredential.objects.note(row.pk, "")
    own = caller(acme).credential
    assert own is not None and not own.refused


def test_a_new_number_encrypts_everything_again(acme: Tenant, globex: Tenant, settings: Any, capsys: Any) -> None:
    for tenant in (acme, globex):
        UpstreamCredential.objects.put(tenant, SECRET)
    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, 2: b"n" * 40}
    call_command("reencrypt")
    assert "Anthropic keys: 2 encrypted again with number 2" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = {2: b"n" * 40}
    for tenant in (acme, globex):
        own = caller(tenant).credential
        assert own is not None and own.secret == SECRET
    call_command("reencrypt")
    assert "0 encrypted again" in capsys.readouterr().out


def test_what_cannot_be_read_any_more_is_said_and_kept(acme: Tenant, settings: Any) -> None:
    row = UpstreamCredential.objects.put(acme, SECRET)
    settings.ENCRYPTION_KEYS = {2: b"n" * 40}
    with pytest.raises(CommandError, match="1 cannot be read"):
        call_command("reencrypt")
    assert bytes(UpstreamCredential.objects.get().sealed) == bytes(row.sealed)
