"""Recovery codes: ten ways in without the phone, each good once, kept as digests alone."""

from __future__ import annotations

import hmac
import re
import secrets
from typing import TYPE_CHECKING, ClassVar

from django.conf import settings
from django.db import models, transaction
from django.db.models import Q

from tenants import audit
from tenants.audit import AuditEvent

if TYPE_CHECKING:
    from tenants.second_factor import SecondFactor

COUNT = 10
ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letter that looks like a digit
LENGTH = 16  # 80 bits
_LOOKALIKES = str.maketrans("oil", "011")


class RecoveryCodeQuerySet(models.QuerySet["RecoveryCode"]):
    def make(self, factor: SecondFactor) -> list[str]:
        """New ones in place of the old, as they are to be written down. To be called in a transaction."""
        number = max(settings.KEY_PEPPERS)
        codes = [mint() for _ in range(COUNT)]
        self.filter(factor=factor).delete()
        rows = (_digest(settings.KEY_PEPPERS[number], factor.user_id, read(code)) for code in codes)
        self.bulk_create([RecoveryCode(factor=factor, pepper=number, digest=digest) for digest in rows])
        return codes

    def renew(self, factor: SecondFactor) -> list[str]:
        """The same, told."""
        with transaction.atomic():
            audit.lock()
            codes = self.make(factor)
            AuditEvent.objects.append(
                "user.recovery_codes_renewed", **factor.audit_subject({"user_id": factor.user_id})
            )
        return codes

    def use(self, factor: SecondFactor, text: str) -> bool:
        """Whether this is one of them; of any number at once that say the same, one is told yes."""
        code = read(text)
        any_pepper = Q()
        for number, pepper in settings.KEY_PEPPERS.items():
            any_pepper |= Q(pepper=number, digest=_digest(pepper, factor.user_id, code))
        row = self.filter(any_pepper, factor=factor)
        if not row.exists():
            return False
        with transaction.atomic():
            audit.lock()
            if not row.delete()[0]:
                return False
            left = {"left": self.filter(factor=factor).count()}
            subject = factor.audit_subject({"user_id": factor.user_id})
            AuditEvent.objects.append("user.recovery_code_used", after=left, **subject)
            factor.forgive()
        return True


class RecoveryCode(models.Model):
    """One that was not used: using it deletes it."""

    factor = models.ForeignKey("tenants.SecondFactor", models.CASCADE, related_name="recovery_codes")
    pepper = models.PositiveSmallIntegerField(editable=False, help_text="Number of the pepper in KEY_PEPPERS.")
    digest = models.BinaryField(max_length=32, editable=False)

    objects: ClassVar[models.Manager[RecoveryCode]] = models.Manager.from_queryset(RecoveryCodeQuerySet)()

    class Meta:
        default_permissions = ()

    def __str__(self) -> str:
        return f"a recovery code of factor {self.factor_id}"


def mint() -> str:
    """`xxxx-xxxx-xxxx-xxxx`."""
    code = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH))
    return "-".join(code[at : at + 4] for at in range(0, LENGTH, 4))


def read(text: str) -> str:
    """What was meant by what was typed."""
    return re.sub(r"[\W_]", "", text.lower()).translate(_LOOKALIKES)


def _digest(pepper: bytes, user_id: int, code: str) -> bytes:
    """HMAC-SHA256: 80 random bits need no slow hash, the pepper keeps a stolen table useless."""
    return hmac.digest(pepper, f"recovery:{user_id}:{code}".encode(), "sha256")
