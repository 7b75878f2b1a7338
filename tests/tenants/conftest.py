"""A key of Acme's, as the database has it."""

from __future__ import annotations

import pytest

from tenants.models import ApiKey, Tenant
from tests.conftest import issue


@pytest.fixture
def key(acme: Tenant) -> ApiKey:
    issue(acme)
    return ApiKey.objects.get()
