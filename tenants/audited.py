"""Models whose every change is on the audit trail: what was before, what is after, never a secret."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from django.contrib.auth import get_user_model
from django.db import models, transaction

from tenants import audit
from tenants.audit import AuditEvent

# Whatever table a column of such a name comes to stand in, its value is not told: only that there is one.
SECRET_WORDS = ("secret", "password", "digest", "token", "encrypted", "cipher", "credential", "pepper", "webhook")
Row = dict[str, Any]


class AuditedQuerySet(models.QuerySet[Any]):
    """Changes many rows, and tells of each."""

    def update(self, **changes: Any) -> int:
        told = changes.keys() - self.model.audit_ignored
        if not told or self.query.is_sliced:
            return super().update(**changes)
        with transaction.atomic():
            audit.lock()
            before = {row["pk"]: row for row in _rows(self)}
            count = super().update(**changes)
            for after in _rows(self.model._base_manager.filter(pk__in=list(before))):
                tell(self.model, before[after["pk"]], after)
        return count

    def delete(self) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            audit.lock()
            before = list(_rows(self))
            result = super().delete()
            for row in before:
                tell(self.model, row, None)
        return result

    def bulk_create(self, objs: Iterable[Any], *args: Any, **kwargs: Any) -> list[Any]:
        with transaction.atomic():
            audit.lock()
            made: list[Any] = super().bulk_create(objs, *args, **kwargs)
            for row in _rows(self.model._base_manager.filter(pk__in=[obj.pk for obj in made])):
                tell(self.model, None, row)
        return made


class Audited(models.Model):
    """A row whose changes are told by `save` and `delete` themselves, so that no verb can forget to.

    A verb gives its change a name and a reason: `self.save(action="key.revoked", reason=reason)`; without one it is
    `<audit_name>.created`, `.changed` or `.deleted`.
    """

    audit_name: ClassVar[str] = ""  # what the trail calls these rows; empty: the model's own name
    audit_part: ClassVar[str] = ""  # of a row that is told of as a part of another: what part
    audit_ignored: ClassVar[frozenset[str]] = frozenset({"last_used_at", "last_login"})  # told by nobody
    audit_secret: ClassVar[frozenset[str]] = frozenset()  # columns whose value must not be told, by any name

    class Meta:
        abstract = True

    def save(self, *args: Any, action: str = "", reason: str = "", **kwargs: Any) -> None:
        fields = kwargs.get("update_fields")
        if fields is not None and self.audit_ignored.issuperset(fields):
            super().save(*args, **kwargs)
            return
        with transaction.atomic():
            audit.lock()
            before = _row(self)
            super().save(*args, **kwargs)
            tell(type(self), before, _row(self), action, reason)

    def delete(self, *args: Any, action: str = "", reason: str = "", **kwargs: Any) -> tuple[int, dict[str, int]]:
        with transaction.atomic():
            audit.lock()
            before = _row(self)
            result = super().delete(*args, **kwargs)
            tell(type(self), before, None, action, reason)
        return result

    @classmethod
    def audit_subject(cls, row: Row) -> Mapping[str, Any]:
        """What the event is about, as `append` takes it: the row itself, unless it is a part of another."""
        kind = cls.audit_name or str(cls._meta.model_name)
        tenant = row["pk"] if kind == "tenant" else row.get("tenant_id")
        return {"kind": kind, "id": row["pk"], "label": _label(row), "tenant_id": tenant}


class AuditedOfPerson(Audited):
    """A part of a person, its `user`."""

    class Meta:
        abstract = True

    @classmethod
    def audit_subject(cls, row: Row) -> Mapping[str, Any]:
        name = get_user_model()._base_manager.filter(pk=row["user_id"]).values_list("username", flat=True).first()
        return {"kind": "user", "id": row["user_id"], "label": name or "", "tenant_id": row.get("tenant_id")}


def tell(model: type[Any], before: Row | None, after: Row | None, action: str = "", reason: str = "") -> None:
    """Appends the event of one row's change; nothing when nothing changed that is told of."""
    old, new = changed(model, before, after)
    if before is not None and after is not None and not (old or new):
        return
    verb = "created" if before is None else "deleted" if after is None else "changed"
    subject = model.audit_subject(after or before or {})
    named = f"{subject['kind']}.{model.audit_part}_{verb}" if model.audit_part else f"{subject['kind']}.{verb}"
    AuditEvent.objects.append(action or named, before=old, after=new, reason=reason, **subject)


def changed(model: type[Any], before: Row | None, after: Row | None) -> tuple[Row, Row]:
    """The columns that differ, redacted: of a new row those that say something, of a deleted one likewise."""
    names = [field.attname for field in model._meta.concrete_fields if field.attname not in model.audit_ignored]
    old, new = before or {}, after or {}
    differ = [name for name in names if old.get(name) != new.get(name)]
    if before is None or after is None:
        differ = [name for name in differ if (old or new).get(name) not in (None, "", [], {})]
    secret = {name for name in differ if _is_secret(model, name)}
    return _told(before, differ, secret), _told(after, differ, secret)


def _told(row: Row | None, names: list[str], secret: set[str]) -> Row:
    if row is None:
        return {}
    return {name: (row[name] and "[redacted]") if name in secret else row[name] for name in names}


def _is_secret(model: type[Any], name: str) -> bool:
    field = next(field for field in model._meta.concrete_fields if field.attname == name)
    flag = isinstance(field, models.BooleanField | models.DateTimeField)
    by_name = not flag and any(word in name for word in SECRET_WORDS)
    return by_name or name in model.audit_secret or isinstance(field, models.BinaryField)


def _row(obj: models.Model) -> Row | None:
    """The row as it is stored now."""
    return next(_rows(type(obj)._base_manager.filter(pk=obj.pk)), None) if obj.pk is not None else None


def _rows(rows: models.QuerySet[Any]) -> Any:
    columns = [field.attname for field in rows.model._meta.concrete_fields]
    pk = rows.model._meta.pk.attname
    return ({**row, "pk": row[pk]} for row in rows.order_by("pk").values(*columns))


def _label(row: Row) -> str:
    return str(next((row[name] for name in ("name", "username", "hint") if row.get(name)), ""))
