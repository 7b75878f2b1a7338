"""One-time codes and recovery codes: what is taken, once, how wrong ones slow down, and what is kept of them."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection
from django_otp.oath import TOTP

from tenants import recovery_codes, second_factor
from tenants.models import AuditEvent, RecoveryCode, SecondFactor, User

pytestmark = pytest.mark.django_db
SECRET = b"12345678901234567890"  # of RFC 6238's test vectors
NOON = 1_800_000_000


def code_at(seconds: float, secret: bytes = SECRET) -> str:
    totp = TOTP(secret)
    totp.time = seconds
    return f"{totp.token():06}"


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Sets how many seconds after noon it is."""
    now = [float(NOON)]
    monkeypatch.setattr("tenants.second_factor.time.time", lambda: now[0])
    return lambda seconds: now.__setitem__(0, NOON + seconds)


@pytest.fixture
def alice(clock: Any) -> User:
    return User.objects.create_superuser("alice", password="correct horse battery")


@pytest.fixture
def factor(alice: User, clock: Callable[[float], None]) -> SecondFactor:
    """Hers, set up two minutes before noon."""
    clock(-120)
    made, _ = SecondFactor.objects.enrol(alice, SECRET, code_at(NOON - 120))
    clock(0)
    return SecondFactor.objects.get(pk=made.pk)


def unthrottled(factor: SecondFactor) -> None:
    SecondFactor.objects.filter(pk=factor.pk).update(throttling_failure_timestamp=None)


def actions(user: User) -> list[str]:
    return [event.action for event in reversed(AuditEvent.objects.of(user))]


# Setting up


@pytest.mark.parametrize("code", ["", "000000", "12345", "1234567", "abcdef", "٠٠٠٠٠٠", "-12345"])
def test_nothing_is_set_up_without_the_code_of_the_app(alice: User, code: str) -> None:
    with pytest.raises(second_factor.WrongCode):
        SecondFactor.objects.enrol(alice, SECRET, code)
    assert not SecondFactor.objects.exists() and actions(alice) == ["user.created"]


def test_a_second_one_does_not_replace_the_first(alice: User, factor: SecondFactor) -> None:
    with pytest.raises(second_factor.AlreadyEnrolled):
        SecondFactor.objects.enrol(alice, b"x" * 20, code_at(NOON, b"x" * 20))
    assert SecondFactor.objects.get() == factor


def test_the_app_is_told_whose_it_is_and_where() -> None:
    uri = urlsplit(second_factor.as_uri(SECRET, "alice@acme.example", "bridge.example.com"))
    told = parse_qs(uri.query)
    assert (uri.scheme, uri.netloc, uri.path) == (
        "otpauth",
        "totp",
        "/Bridge%20bridge.example.com:alice%40acme.example",
    )
    assert base64.b32decode(told["secret"][0]) == SECRET
    assert (told["issuer"], told["digits"], told["period"]) == (["Bridge bridge.example.com"], ["6"], ["30"])


def test_every_secret_is_a_new_one() -> None:
    made = {second_factor.new_secret() for _ in range(50)}
    assert len(made) == 50 and {len(secret) for secret in made} == {20}


# Codes


@pytest.mark.parametrize(("age", "well"), [(-60, False), (-30, True), (0, True), (30, True), (60, False)])
def test_a_code_is_good_for_its_half_minute_and_those_beside_it(factor: SecondFactor, age: int, well: bool) -> None:
    assert factor.accept(code_at(NOON - age)) == ("code" if well else "")


def test_a_code_is_taken_once(factor: SecondFactor) -> None:
    assert factor.accept(code_at(NOON)) == "code"
    assert factor.accept(code_at(NOON)) == ""


def test_a_code_older_than_the_last_is_not_taken(factor: SecondFactor) -> None:
    assert factor.accept(code_at(NOON)) == "code"
    assert factor.accept(code_at(NOON - 30)) == ""


def test_the_code_that_set_it_up_does_not_sign_in(alice: User) -> None:
    factor, _ = SecondFactor.objects.enrol(alice, SECRET, code_at(NOON))
    assert factor.accept(code_at(NOON)) == ""


def test_a_code_may_be_typed_as_apps_show_it(factor: SecondFactor) -> None:
    code = code_at(NOON)
    assert factor.accept(f" {code[:3]} {code[3:]} ") == "code"


def test_wrong_codes_make_everyone_wait_longer_and_longer(factor: SecondFactor) -> None:
    waits = []
    for _ in range(5):
        assert factor.accept("000000") == ""
        factor = SecondFactor.objects.get()
        until = factor.throttled_until("000000")
        assert until is not None and factor.throttling_failure_timestamp is not None
        waits.append((until - factor.throttling_failure_timestamp).total_seconds())
        assert factor.accept(code_at(NOON)) == "", "the right one is not looked at before that"
        unthrottled(factor)
    assert waits == [1, 2, 4, 8, 16]
    assert factor.accept(code_at(NOON)) == "code"
    assert SecondFactor.objects.get().throttling_failure_count == 0


def test_a_secret_moved_to_another_person_is_worth_nothing_there(factor: SecondFactor, caplog: Any) -> None:
    mallory = User.objects.create_user("mallory")
    SecondFactor.objects.update(user=mallory)
    assert SecondFactor.objects.get().accept(code_at(NOON)) == ""
    assert "cannot be decrypted" in caplog.text and code_at(NOON) not in caplog.text


def test_a_new_number_encrypts_it_again(factor: SecondFactor, settings: Any, capsys: Any) -> None:
    settings.ENCRYPTION_KEYS = {**settings.ENCRYPTION_KEYS, 2: b"n" * 40}
    call_command("reencrypt")
    assert "Second factors: 1 encrypted again with number 2" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = {2: b"n" * 40}
    assert SecondFactor.objects.get().accept(code_at(NOON)) == "code"
    assert "user.second_factor_changed" not in actions(factor.user)


# Recovery codes


@pytest.fixture
def codes(factor: SecondFactor) -> list[str]:
    return factor.recovery_codes.renew(factor)


def test_there_are_ten_of_eighty_bits(codes: list[str]) -> None:
    assert len(set(codes)) == recovery_codes.COUNT == 10
    assert {len(recovery_codes.read(code)) for code in codes} == {16} and len(recovery_codes.ALPHABET) == 32


def test_each_is_good_once(factor: SecondFactor, codes: list[str]) -> None:
    assert factor.accept(codes[3]) == "recovery code"
    assert factor.accept(codes[3]) == ""
    assert RecoveryCode.objects.count() == 9
    event = AuditEvent.objects.of(factor.user)[0]
    assert (event.action, event.told_after) == ("user.recovery_code_used", {"left": 9})


def test_one_does_not_bring_a_used_code_back(factor: SecondFactor, codes: list[str]) -> None:
    """Two workers at once, of which one read the row before the other used a code."""
    other = SecondFactor.objects.get()
    assert other.accept(code_at(NOON)) == "code"
    assert factor.accept(codes[0]) == "recovery code"
    assert SecondFactor.objects.get().accept(code_at(NOON)) == ""


def test_one_may_be_typed_carelessly(factor: SecondFactor, codes: list[str]) -> None:
    sloppy = codes[0].upper().replace("-", " ").replace("0", "O").replace("1", "l")
    assert factor.accept(f"  {sloppy}\n") == "recovery code"


def test_new_ones_end_the_old(factor: SecondFactor, codes: list[str]) -> None:
    new = factor.recovery_codes.renew(factor)
    assert factor.accept(codes[0]) == "" and factor.accept(new[0]) == "recovery code"
    assert actions(factor.user).count("user.recovery_codes_renewed") == 2


def test_those_of_someone_else_are_worth_nothing(factor: SecondFactor, codes: list[str]) -> None:
    mallory = User.objects.create_user("mallory")
    theirs, _ = SecondFactor.objects.enrol(mallory, b"m" * 20, code_at(NOON, b"m" * 20))
    assert theirs.accept(codes[0]) == ""
    RecoveryCode.objects.filter(factor=factor).update(factor=theirs)
    assert theirs.accept(codes[0]) == "", "a moved row neither"


def test_its_owner_gets_in_while_someone_else_guesses(factor: SecondFactor, codes: list[str]) -> None:
    SecondFactor.objects.update(throttling_failure_count=30)
    factor.accept("000000")
    factor = SecondFactor.objects.get()
    assert factor.throttled_until(code_at(NOON)) is not None and factor.throttled_until(codes[0]) is None
    assert factor.accept(codes[0]) == "recovery code"
    assert SecondFactor.objects.get().throttled_until(code_at(NOON)) is None


def test_an_older_pepper_still_reads_them(factor: SecondFactor, codes: list[str], settings: Any) -> None:
    settings.KEY_PEPPERS = {**settings.KEY_PEPPERS, 2: b"n" * 40}
    assert factor.accept(codes[0]) == "recovery code"
    new = factor.recovery_codes.renew(factor)
    assert set(RecoveryCode.objects.values_list("pepper", flat=True)) == {2}
    assert factor.accept(new[0]) == "recovery code"


def test_removing_it_removes_them(factor: SecondFactor, codes: list[str]) -> None:
    factor.delete(reason="by its owner")
    assert not RecoveryCode.objects.exists()
    assert AuditEvent.objects.of(factor.user)[0].told_context["reason"] == "by its owner"


# What is kept


def test_no_secret_and_no_code_lies_in_a_row(factor: SecondFactor, codes: list[str]) -> None:
    factor.accept(codes[0])
    kept = [row for model in (SecondFactor, RecoveryCode, AuditEvent) for row in model._base_manager.values()]
    text = json.dumps(kept, default=lambda value: bytes(value).hex() if isinstance(value, memoryview) else str(value))
    hidden = [SECRET.decode(), SECRET.hex(), second_factor.as_text(SECRET), *codes, *map(recovery_codes.read, codes)]
    assert len(kept) > 10 and [word for word in hidden if word in text] == []
    assert bytes(SecondFactor.objects.get().sealed).startswith(b"%d:" % max(settings.ENCRYPTION_KEYS))


def test_it_is_told_from_beginning_to_end(alice: User, factor: SecondFactor, codes: list[str]) -> None:
    factor.accept(code_at(NOON))
    factor.accept("000000")
    factor.delete()
    assert actions(alice) == [
        "user.created", "user.second_factor_created", "user.recovery_codes_renewed", "user.second_factor_deleted",
    ]  # fmt: skip
    assert {event.object_label for event in AuditEvent.objects.of(alice)} == {"alice"}


# manage.py remove_second_factor


def test_the_command_helps_the_last_administrator(alice: User, factor: SecondFactor, capsys: Any) -> None:
    call_command("remove_second_factor", "alice", "--reason", "phone lost")
    assert "Removed the second factor of alice" in capsys.readouterr().out
    assert not SecondFactor.objects.exists()
    event = AuditEvent.objects.of(alice)[0]
    assert (event.action, event.told_context) == ("user.second_factor_deleted", {"reason": "phone lost"})


def test_the_command_says_what_is_wrong(alice: User) -> None:
    with pytest.raises(CommandError, match="nobody called bob"):
        call_command("remove_second_factor", "bob")
    with pytest.raises(CommandError, match="alice has no second factor"):
        call_command("remove_second_factor", "alice")


# At once


@pytest.mark.django_db(transaction=True)
def test_of_those_who_give_the_same_at_once_one_gets_in(factor: SecondFactor, codes: list[str]) -> None:
    def give(text: str) -> str:
        try:
            return SecondFactor.objects.get().accept(text)
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        for text, kind in ((code_at(NOON), "code"), (codes[0], "recovery code")):
            unthrottled(factor)
            assert sorted(threads.map(give, [text] * 8)) == [""] * 7 + [kind]
            SecondFactor.objects.update(throttling_failure_count=0)
    assert actions(factor.user).count("user.recovery_code_used") == 1


@pytest.mark.django_db(transaction=True)
def test_who_sets_it_up_twice_at_once_has_one(alice: User) -> None:
    def enrol(secret: bytes) -> bool:
        try:
            SecondFactor.objects.enrol(alice, secret, code_at(NOON, secret))
        except second_factor.AlreadyEnrolled:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(enrol, [bytes([number]) * 20 for number in range(4)])) == [False] * 3 + [True]
    assert RecoveryCode.objects.count() == 10
