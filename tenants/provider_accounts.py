"""Whose account at an OpenID provider is whose here: by e-mail address, and from the first time on that account alone.

An address can go to somebody else, at the provider or at the company; the provider's own name for an account (`sub`)
cannot. So both have to fit: the address, and the account that came with it first.
"""

from __future__ import annotations

from typing import Any

from django.contrib.auth import get_user_model
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from tenants import actors
from tenants.audited import AuditedOfPerson

NOBODY = "Nobody who may open this console has the e-mail address of that account. Ask an administrator."
ANOTHER = "That is not the account that was used here first. An administrator can let go of the first one (People)."
_LONGEST = 255  # of an account's name, as OpenID Connect has it


class NotLetIn(Exception):
    """Someone is not signed in: `why` is for the audit trail, `said` for the page."""

    def __init__(self, why: str, said: str, person: Any = None) -> None:
        super().__init__(why)
        self.why, self.said, self.person = why, said, person


class ProviderAccount(AuditedOfPerson):
    """The account that a person came with first. There is one for each provider there ever was."""

    audit_part = "provider_account"

    user = models.ForeignKey("tenants.User", models.CASCADE, related_name="provider_accounts")
    issuer = models.CharField(max_length=255)
    subject = models.CharField(max_length=_LONGEST)
    bound_at = models.DateTimeField(default=timezone.now, editable=False)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["user", "issuer"], name="one_account_of_a_person"),
            models.UniqueConstraint(fields=["issuer", "subject"], name="one_person_of_an_account"),
        ]
        default_permissions = ()

    def __str__(self) -> str:
        return f"{self.subject} at {self.issuer}"


def is_same(one: str, other: str) -> bool:
    """Of two addresses. In capitals or not, in ASCII only: databases take letters for equal that are not the same."""
    return one == other or (one.isascii() and other.isascii() and one.lower() == other.lower())


def person_of(issuer: str, subject: str, email: str) -> Any:
    """The one person who may come in with this account; the first time it becomes theirs. Raises NotLetIn."""
    person = _by_email(email)
    if not subject or len(subject) > _LONGEST:
        raise NotLetIn("the account has no name that can be kept", ANOTHER, person)
    themselves = actors.somebody(person.get_username(), person.pk)  # they are about to sign in, and bind it
    try:
        with actors.acting(themselves), transaction.atomic():
            account, _ = ProviderAccount.objects.get_or_create(
                user=person, issuer=issuer, defaults={"subject": subject}
            )
    except IntegrityError:
        raise NotLetIn("the account is somebody else's here", ANOTHER, person) from None
    if account.subject != subject:
        raise NotLetIn("it is another account than the first one", ANOTHER, person)
    return person


def _by_email(email: str) -> Any:
    found = [person for person in get_user_model().objects.filter(email__iexact=email) if is_same(person.email, email)]
    if not found:
        raise NotLetIn("nobody here has that e-mail address", NOBODY)
    if len(found) > 1:
        raise NotLetIn("several people here have that e-mail address", NOBODY)
    (person,) = found
    if not person.is_active:
        raise NotLetIn("the person is deactivated", NOBODY, person)
    if not person.is_staff:
        raise NotLetIn("the person may not open the console", NOBODY, person)
    return person


def let_go(person: Any, reason: str) -> None:
    """Whatever account comes next with the person's address is theirs."""
    for account in ProviderAccount.objects.filter(user=person):
        account.delete(reason=reason)
