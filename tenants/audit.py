"""The audit trail: one row per administrative event, chained by an HMAC, appended with the change it tells of.

A row's hash covers all of its columns and the hash before it, under a key (AUDIT_KEY) that the database never sees.
Rows are appended one at a time in the transaction of the change: what cannot be written down does not happen. Triggers
refuse to change rows (append_only.py).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any, ClassVar, NamedTuple
from uuid import UUID

from django.conf import settings
from django.db import connection, models, transaction
from django.utils import timezone

from tenants import actors
from tenants.actors import Actor

LOCK = 0x4272_6964_6765_01  # PostgreSQL's advisory lock for whoever appends
NO_HASH = "0" * 64  # before the first row
MAX_TEXT = 4000
_ACTION = re.compile(r"[a-z_]+\.[a-z_]+")
# Ours, Anthropic's and anything in an Authorization header: a name or a reason may hold a pasted one.
_SECRETS = re.compile(r"(sk-bridge_(?:live|test)_[0-9A-Za-z]{8})[0-9A-Za-z]+|sk-ant-[0-9A-Za-z_-]{8,}|Bearer \S{8,}")


class AppendOnly(Exception):
    """Someone tried to change what happened."""


class Head(NamedTuple):
    """The newest row. Kept elsewhere, it is an anchor: a trail that was cut later no longer has it."""

    seq: int
    hash: str

    def __str__(self) -> str:
        return f"{self.seq}:{self.hash}"


class AuditEventQuerySet(models.QuerySet["AuditEvent"]):
    def append(
        self,
        action: str,
        obj: models.Model | None = None,
        *,
        kind: str = "",
        id: object = "",
        label: str = "",
        tenant_id: int | None = None,
        before: Mapping[str, Any] | None = None,
        after: Mapping[str, Any] | None = None,
        reason: str = "",
        actor: Actor | None = None,
        context: Mapping[str, Any] | None = None,
    ) -> AuditEvent:
        """Appends what happened, in the caller's transaction; the caller's change is undone if this fails.

        `action` is `object.verb`, e.g. "key.revoked" (actions.py has their words). The object is `obj`, or what `kind`,
        `id` and `label` say. `before` and `after` are the changed fields; the actor is whoever is acting.
        """
        if not _ACTION.fullmatch(action):
            raise ValueError(f"{action!r} is not an action: it takes the form object.verb.")
        actor = actor or actors.current()
        told = {**actor.context, **(context or {}), **({"reason": reason} if reason else {})}
        row = AuditEvent(
            at=timezone.now(),
            actor_kind=actor.kind.value,
            actor_name=_text(actor.name, 150),
            actor_id=_text(actor.id, 64),
            address=_text(actor.address, 45),
            action=action,
            object_type=kind or (kind_of(obj) if obj is not None else ""),
            object_id=_text(str(id or (obj.pk if obj is not None else "")), 64),
            object_label=_text(label or (str(obj) if obj is not None else ""), 200),
            tenant_id=tenant_id if tenant_id is not None else _tenant_of(obj),
            before=as_text(before),
            after=as_text(after),
            context=as_text(told),
            key_number=max(settings.AUDIT_KEYS),
        )
        # No savepoint: a caller that caught the error and went on would commit a change that nobody wrote down.
        with transaction.atomic(savepoint=False):
            lock()
            row.seq, row.prev_hash = _after(self.head())
            row.hash = row.computed_hash()
            super(AuditEvent, row).save(force_insert=True)
        return row

    def head(self) -> Head:
        newest = self.model.objects.order_by("-seq").values_list("seq", "hash").first()
        return Head(*newest) if newest else Head(0, NO_HASH)

    def of(self, obj: models.Model) -> models.QuerySet[AuditEvent]:
        """The history of one row, newest first."""
        return self.filter(object_type=kind_of(obj), object_id=str(obj.pk)).order_by("-seq")

    def update(self, **changes: Any) -> int:
        raise AppendOnly("The audit trail is only ever appended to.")

    def delete(self) -> tuple[int, dict[str, int]]:
        raise AppendOnly("The audit trail is only ever appended to.")

    def bulk_create(self, *args: Any, **kwargs: Any) -> list[AuditEvent]:
        raise AppendOnly("The audit trail is appended to one row at a time.")


class AuditEvent(models.Model):
    """One thing that someone did. Texts of JSON, not JSON columns: what is signed is what is stored, byte for byte."""

    seq = models.BigIntegerField(primary_key=True, editable=False)
    at = models.DateTimeField(editable=False)
    actor_kind = models.CharField(max_length=7, choices=[(kind.value, kind.value) for kind in actors.Kind])
    actor_name = models.CharField(max_length=150)
    actor_id = models.CharField(max_length=64, blank=True)
    address = models.CharField(max_length=45, blank=True)
    action = models.CharField(max_length=64)
    object_type = models.CharField(max_length=40, blank=True)
    object_id = models.CharField(max_length=64, blank=True)
    object_label = models.CharField(max_length=200, blank=True)
    tenant = models.ForeignKey(
        "tenants.Tenant",
        models.DO_NOTHING,
        null=True,
        blank=True,
        db_constraint=False,
        db_index=False,
        related_name="+",
    )
    before = models.TextField(blank=True)
    after = models.TextField(blank=True)
    context = models.TextField(blank=True)
    key_number = models.PositiveSmallIntegerField()
    prev_hash = models.CharField(max_length=64)
    hash = models.CharField(max_length=64)

    objects: ClassVar[models.Manager[Any]] = models.Manager.from_queryset(AuditEventQuerySet)()

    class Meta:
        ordering = ["-seq"]
        verbose_name = "event"
        default_permissions = ("view",)
        indexes = [
            models.Index(fields=["object_type", "object_id", "-seq"], name="audit_object"),
            models.Index(fields=["tenant", "-seq"], name="audit_tenant"),
            models.Index(fields=["action", "-seq"], name="audit_action"),
            models.Index(fields=["actor_name", "-seq"], name="audit_actor"),
        ]

    def __str__(self) -> str:
        return f"{self.seq} {self.action} {self.object_label}".strip()

    def save(self, *args: Any, **kwargs: Any) -> None:
        raise AppendOnly("The audit trail is appended to with AuditEvent.objects.append.")

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        raise AppendOnly("The audit trail is only ever appended to.")

    def columns(self) -> dict[str, Any]:
        """Every column by its name, as exports show it; the moment in ISO form, UTC, with six decimals."""
        row = {field.attname: getattr(self, field.attname) for field in self._meta.concrete_fields}
        return {**row, "at": stamp(self.at)}

    def computed_hash(self) -> str:
        """HMAC-SHA256 under the row's key over the canonical JSON of every column but the hash itself."""
        key = settings.AUDIT_KEYS.get(self.key_number)
        if key is None:
            return ""
        covered = self.columns()
        del covered["hash"]
        return hmac.digest(key, canonical(covered), hashlib.sha256).hex()

    @property
    def told_before(self) -> dict[str, Any]:
        return dict(json.loads(self.before)) if self.before else {}

    @property
    def told_after(self) -> dict[str, Any]:
        return dict(json.loads(self.after)) if self.after else {}

    @property
    def told_context(self) -> dict[str, Any]:
        return dict(json.loads(self.context)) if self.context else {}


def lock() -> None:
    """Whoever changes what is audited waits here for the one before, until the end of the transaction.

    Taken before anything is read or written, so that `before` is the truth and no two hold each other's rows. A SQLite
    transaction is IMMEDIATE: it holds the only writer's lock from its beginning.
    """
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_advisory_xact_lock(%s)", [LOCK])


def canonical(value: object) -> bytes:
    """JSON in its one form: keys sorted, no spaces, UTF-8."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, default=str).encode()


def stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def kind_of(obj: models.Model) -> str:
    """What the trail calls a row's kind: `audit_name`, or the model's own name."""
    return str(getattr(obj, "audit_name", "") or obj._meta.model_name)


def as_text(fields: Mapping[str, Any] | None) -> str:
    """The fields as canonical JSON, cut and without secrets; nothing for none."""
    return canonical({name: plain(value) for name, value in fields.items()}).decode() if fields else ""


def plain(value: Any) -> Any:
    """The value as both databases and every JSON reader agree on it. Bytes are never shown."""
    if isinstance(value, Mapping):
        return {str(name): plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [plain(one) for one in value]
    if isinstance(value, datetime):
        return stamp(value) if timezone.is_aware(value) else value.isoformat()
    if isinstance(value, bytes | bytearray | memoryview):
        return "[redacted]"
    if value is None or isinstance(value, bool | int):
        return value
    return _text(value.isoformat() if isinstance(value, date) else str(value), MAX_TEXT)


def _text(text: str, length: int) -> str:
    """As every database takes it: no NUL and no half characters, no secret, no longer than its place."""
    clean = text.replace("\0", "\ufffd").encode(errors="replace").decode()
    clean = _SECRETS.sub(lambda match: f"{match[1]}…" if match[1] else "[redacted]", clean)
    return clean if len(clean) <= length else f"{clean[: length - 1]}…"


def _tenant_of(obj: models.Model | None) -> int | None:
    if obj is not None and obj._meta.model_name == "tenant":
        return int(obj.pk)
    found = getattr(obj, "tenant_id", None)
    return int(found) if found is not None and not isinstance(found, UUID) else None


def _after(head: Head) -> tuple[int, str]:
    return head.seq + 1, head.hash
