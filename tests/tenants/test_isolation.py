"""What belongs to one tenant is never part of what another tenant's key may use."""

from __future__ import annotations

import pytest
from django.conf import settings

from tenants.models import ApiKey, KeySecret, ModelAlias, Tenant, UpstreamCredential
from tenants.values import Caller

pytestmark = pytest.mark.django_db

SECRET = "sk-ant-" + "api03-acmes-own-key-ABCD"


def caller(tenant: Tenant, **rights: object) -> Caller:
    key = ApiKey.objects.issue(tenant, "a key", peppers=settings.KEY_PEPPERS, **rights).key
    found = KeySecret.objects.identify(key, settings.KEY_PEPPERS)
    assert found is not None
    return found


@pytest.fixture
def mallory() -> Caller:
    """Mallory's key, made after Acme got everything that a tenant and a key can have."""
    acme, globex = (Tenant.objects.create(slug=name, name=name.title()) for name in ("acme", "globex"))
    UpstreamCredential.objects.put(acme, SECRET)
    ModelAlias.objects.create(tenant=acme, name="acmes-model", target="claude-opus-5")
    ModelAlias.objects.create(tenant=None, name="everybodys-model", target="claude-opus-5")
    bob = caller(acme, tags={"team": "search"}, networks=["203.0.113.0/24"], allowed_models=["claude-opus-5"])
    assert bob.credential and bob.tags and bob.networks and bob.models and "acmes-model" in bob.aliases
    return caller(globex)


def test_aliases_credential_tags_and_rights_stay_where_they_are(mallory: Caller) -> None:
    assert mallory.tenant == "globex"
    assert set(mallory.aliases) == {"everybodys-model"}
    assert mallory.credential is None
    assert (mallory.tags, mallory.networks, mallory.models) == ({}, (), None)


def test_callers_with_keys_of_their_own_get_none_of_it_either(mallory: Caller) -> None:
    guest = ApiKey.objects.guest()
    assert (guest.tenant, guest.secret_id, guest.credential) == ("caller-keys", None, None)
    assert set(guest.aliases) == {"everybodys-model"} and not guest.tags


def test_the_row_that_callers_share_is_made_once(mallory: Caller) -> None:
    assert ApiKey.objects.guest() == ApiKey.objects.guest()
    assert Tenant.objects.filter(slug="caller-keys").count() == 1


def test_a_key_of_ours_is_never_a_guest(mallory: Caller) -> None:
    ApiKey.objects.guest()
    assert not KeySecret.objects.filter(key__tenant__slug="caller-keys").exists()
