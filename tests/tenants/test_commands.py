"""Keys from the command line: issue, rotate, revoke."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.utils import timezone

from tenants import keys
from tenants.models import ApiKey, KeySecret, Tenant
from tenants.values import Caller

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """The last line that a command printed."""

    def command(*arguments: str) -> str:
        call_command(*arguments)
        return capsys.readouterr().out.splitlines()[-1]

    return command


def holder(text: str) -> Caller | None:
    key = keys.recognise(text)
    assert key is not None
    return KeySecret.objects.identify(key, settings.KEY_PEPPERS)


def test_a_key_is_issued_with_everything_it_may_have(run: Any) -> None:
    text = run(
        "issue_key", "acme", "bot", "--models", "claude-opus-5,claude-haiku-5-5", "--expires", "30d", "--note", "Bob",
        "--allow-ip", "203.0.113.0/24", "--allow-ip", "2001:db8::1", "--tag", "team=search", "--tag", "env=live",
        "--capture", "errors",
    )  # fmt: skip
    caller, row = holder(text), ApiKey.objects.get()
    assert caller is not None and caller.models == {"claude-opus-5", "claude-haiku-5-5"}
    assert row.networks == ["203.0.113.0/24", "2001:db8::1/128"] and len(caller.networks) == 2
    assert row.tags == caller.tags == {"team": "search", "env": "live"}
    assert (row.note, row.capture) == ("Bob", "errors")
    assert abs(row.expires_at - timezone.now() - timedelta(days=30)) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("flags", "says"),
    [
        (["--allow-ip", "office"], "--allow-ip: “office” is neither"),
        (["--allow-ip", "10.1.2.3/8"], "--allow-ip: .*write 10.0.0.0/8"),
        (["--tag", "team"], "--tag: “team” is not a tag"),
        (["--expires", "soon"], "--expires=soon is not valid"),
        (["--expires", "0d"], "--expires=0d is not valid"),
        (["--capture", "some"], "--capture: invalid choice: 'some'"),
    ],
)
def test_a_mistake_issues_nothing(flags: list[str], says: str) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("issue_key", "acme", "bot", *flags)
    assert not ApiKey.objects.exists() and not Tenant.objects.exists()


@pytest.mark.parametrize("by", ["id", "public id", "key"])
def test_a_key_is_rotated_by_any_of_its_names(run: Any, by: str) -> None:
    old = run("issue_key", "acme", "bot")
    names = {"id": str(ApiKey.objects.get().pk), "public id": old[15:23], "key": old}
    new = run("rotate_key", names[by], "--overlap", "1h")
    before, after = holder(old), holder(new)
    assert before is not None and after is not None and before.key_id == after.key_id
    assert before.expires_at is not None and 3500 < before.expires_at - timezone.now().timestamp() < 3700


def test_the_old_secret_works_for_a_day_unless_told_otherwise(run: Any) -> None:
    old = run("issue_key", "acme", "bot")
    run("rotate_key", old)
    caller = holder(old)
    assert caller is not None and caller.expires_at is not None
    assert 86_000 < caller.expires_at - timezone.now().timestamp() < 86_500


def test_now_leaves_no_overlap(run: Any) -> None:
    old = run("issue_key", "acme", "bot")
    run("rotate_key", old, "--overlap", "now")
    caller = holder(old)
    assert caller is not None and (caller.expires_at or 1e12) <= timezone.now().timestamp()


def test_what_cannot_be_rotated_says_why(run: Any) -> None:
    key = run("issue_key", "acme", "bot")
    with pytest.raises(CommandError, match="--overlap=a day is not valid"):
        call_command("rotate_key", key, "--overlap", "a day")
    with pytest.raises(CommandError, match="There is no such key"):
        call_command("rotate_key", "AbCd1234")
    run("revoke_key", key, "--reason", "leaked")
    with pytest.raises(CommandError, match="is revoked"):
        call_command("rotate_key", key)
    assert KeySecret.objects.count() == 1


def test_a_revoked_key_keeps_its_reason(run: Any) -> None:
    key = run("issue_key", "acme", "bot")
    assert re.match(r"Revoked bot \(acme\)", run("revoke_key", key, "--reason", "leaked"))
    assert ApiKey.objects.get().revoked_reason == "leaked"
    with pytest.raises(CommandError, match="was revoked already"):
        call_command("revoke_key", key)
