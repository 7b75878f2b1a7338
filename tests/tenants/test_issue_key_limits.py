"""`issue_key` with limits."""

from __future__ import annotations

import pytest
from django.core.management import CommandError, call_command

from tenants.models import ApiKey

pytestmark = pytest.mark.django_db


def test_a_key_is_issued_with_limits() -> None:
    call_command("issue_key", "acme", "support bot", "--rpm", "60", "--tpm", "0", "--concurrency", "4")
    key = ApiKey.objects.get()
    assert (key.rpm, key.tpm, key.concurrency) == (60, 0, 4)


def test_without_them_it_has_the_site_s() -> None:
    call_command("issue_key", "acme", "support bot")
    key = ApiKey.objects.get()
    assert (key.rpm, key.tpm, key.concurrency) == (None, None, None)


@pytest.mark.parametrize("wrong", [("--rpm", "-1"), ("--tpm", "many"), ("--concurrency", "60001"), ("--rpm", "٣")])
def test_what_is_no_number_issues_nothing(wrong: tuple[str, str]) -> None:
    with pytest.raises(CommandError, match="whole number"):
        call_command("issue_key", "acme", "support bot", *wrong)
    assert not ApiKey.objects.exists()
