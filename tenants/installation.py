"""What this site is, and the rows that the gate caches: each change of one reaches every worker within a second."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import F, Q

from tenants.audit import AuditEvent
from tenants.audited import Audited, AuditedQuerySet


class Installation(models.Model):
    """The one row that says what this site is.

    `revision` counts changes to what the gate knows; every worker watches it. `fingerprints` recognise the secrets
    that the stored digests were made with, so that a start with other ones is refused instead of locking everyone out.
    `pruned_on` is the day of the last nightly pruning, whichever worker did it;
    `witnessed_at` when the head of the audit trail was last said aloud.
    """

    id = models.PositiveSmallIntegerField(primary_key=True, default=1, editable=False)
    revision = models.BigIntegerField(default=0)
    fingerprints = models.JSONField(default=dict)
    pruned_on = models.DateField(null=True)
    witnessed_at = models.DateTimeField(null=True)

    @classmethod
    def bump(cls) -> None:
        """Makes every worker forget what it knows about keys, within its next poll."""
        if not cls.objects.filter(pk=1).update(revision=F("revision") + 1):
            cls.objects.get_or_create(pk=1, defaults={"revision": 1})

    @classmethod
    def current_revision(cls) -> int:
        return cls.objects.filter(pk=1).values_list("revision", flat=True).first() or 0

    @classmethod
    def claim_pruning(cls, day: date) -> bool:
        """Whether the pruning of this day is the caller's to do: the first of all workers to ask does it."""
        return bool(cls.objects.filter(Q(pruned_on=None) | Q(pruned_on__lt=day), pk=1).update(pruned_on=day))

    @classmethod
    def claim_witness(cls, now: datetime, every: timedelta) -> bool:
        """Whether it is the caller's turn to say the head of the audit trail."""
        due = Q(witnessed_at=None) | Q(witnessed_at__lte=now - every)
        return bool(cls.objects.filter(due, pk=1).update(witnessed_at=now))

    @classmethod
    def check_fingerprints(cls, current: Mapping[str, str]) -> list[str]:
        """The names whose secret is not the one this database was made with; new names are remembered."""
        row, _ = cls.objects.get_or_create(pk=1)
        changed = [name for name, print_ in current.items() if row.fingerprints.get(name, print_) != print_]
        if not changed and not current.keys() <= row.fingerprints.keys():
            new = sorted(current.keys() - row.fingerprints.keys())
            with transaction.atomic():
                row.fingerprints = {**row.fingerprints, **current}
                row.save(update_fields=["fingerprints"])
                AuditEvent.objects.append("installation.secret_remembered", kind="installation", after={"names": new})
        return changed


class GateQuerySet(AuditedQuerySet):
    """Changes to these rows reach the gate of every worker: they bump the revision in the same transaction."""

    def update(self, **changes: Any) -> int:
        with transaction.atomic():
            count = super().update(**changes)
            Installation.bump()
        return count

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            result = super().delete()
            Installation.bump()
        return result


class GateModel(Audited):
    """A row that the gate caches."""

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(GateQuerySet)()

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        with transaction.atomic():
            super().save(*args, **kwargs)
            Installation.bump()

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            result = super().delete(*args, **kwargs)
            Installation.bump()
        return result
