"""Proof: whatever is done to the trail or to closed records behind Bridge's back, `audit_verify` finds it.

    python -m tests.faults.tampering EDITS RECORD_EDITS SEED      (in an environment with a database of its own)

The one who tampers is an administrator of the database: the triggers are taken away first. Each edit is verified on its
own and undone.
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any

from tests.faults.aside import aside
from tests.faults.report import Report, not_installed
from tests.postgres import binaries

ROWS, RECORDS, DAYS = 60, 90, 3
SECONDS = 1500


def tampering(edits: int, record_edits: int, seed: int = 1, postgresql: bool = False) -> Report:
    if postgresql and not binaries():
        return not_installed("PostgreSQL")
    numbers = (edits, record_edits, seed)
    found = aside("tests.faults.tampering", *numbers, seconds=SECONDS, postgresql=postgresql)
    report = Report(
        f"{edits:,} edits of a trail of {found['rows']} rows and {record_edits:,} of {found['records']} sealed records,"
        f" on {found['vendor']}; seed {seed}"
    )
    report.exactly("the trail and the records as they are, in order", found["untouched"], 1)
    for kind, count in sorted(found["tried"].items()):
        report.exactly(f"found of {count:,}: {kind}", found["found"].get(kind, 0), count)
    report.none_of("edits that were not found", found["missed"])
    report.exactly("edits refused while the triggers are there", found["refused"], found["attempts"])
    report.told("time for one row", f"{found['row_us']:.0f} µs")
    return report


# In that process


class Tamperer:
    """Edits one table at random; every edit is undone by the end of its transaction."""

    def __init__(self, random: Random, table: str, order: str, ids: list[Any], columns: dict[str, Callable[..., Any]]):
        self.random, self.table, self.order, self.ids, self.columns = random, table, order, ids, columns

    def edit(self, cursor: Any) -> str:
        """Does one thing and says what; only what really changed something counts."""
        while True:
            kind = self.random.choice(["edited", "edited", "edited", "deleted", "swapped", "added"])
            if getattr(self, f"_{kind}")(cursor):
                return kind

    def _edited(self, cursor: Any) -> bool:
        column, pk = self.random.choice(sorted(self.columns)), self.random.choice(self.ids)
        cursor.execute(f"SELECT {column} FROM {self.table} WHERE {self.order} = %s", [pk])
        (old,) = cursor.fetchone()
        new = self.columns[column](self.random, old)
        if new == old:
            return False
        cursor.execute(f"UPDATE {self.table} SET {column} = %s WHERE {self.order} = %s", [new, pk])
        return True

    def _deleted(self, cursor: Any) -> bool:
        pk = self.random.choice(self.ids[:-1])  # a cut tail takes an anchor to see: that is tried by itself
        cursor.execute(f"DELETE FROM {self.table} WHERE {self.order} = %s", [pk])
        return True

    def _swapped(self, cursor: Any) -> bool:
        """Two rows exchange their places."""
        one, other = self.random.sample(self.ids, 2)
        spare = self.spare(self.random)
        for old, new in ((one, spare), (other, one), (spare, other)):
            cursor.execute(f"UPDATE {self.table} SET {self.order} = %s WHERE {self.order} = %s", [new, old])
        return True

    def _added(self, cursor: Any) -> bool:
        """A copy of a row under an id that is free."""
        names = ", ".join(name for name in self.all_columns if name != self.order)
        cursor.execute(
            f"INSERT INTO {self.table} ({self.order}, {names}) SELECT %s, {names} FROM {self.table}"
            f" WHERE {self.order} = %s",
            [self.spare(self.random), self.random.choice(self.ids)],
        )
        return True

    all_columns: list[str]
    spare: Callable[[Random], Any]


def main(edits: int, record_edits: int, seed: int) -> dict[str, Any]:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection

    call_command("migrate", verbosity=0)
    trail, records = _prepare(Random(seed))
    from tenants import append_only
    from tenants.verification import verify, verify_chain

    untouched, rows = verify(), len(trail.ids)
    result: dict[str, Any] = {
        "vendor": connection.vendor, "rows": rows, "records": len(records.ids), "untouched": int(untouched.holds),
        "tried": Counter(), "found": Counter(), "missed": [], **_attempts(trail, 50),
    }  # fmt: skip
    append_only.unprotect(connection)
    started = time.monotonic()
    _try(trail, edits, "of the trail", result, lambda: verify_chain().broken)
    result["row_us"] = (time.monotonic() - started) / max(edits * rows, 1) * 1e6
    _try(records, record_edits, "of records", result, lambda: verify(records=True).records)
    return result


def _try(tamperer: Tamperer, count: int, of: str, result: dict[str, Any], verify: Callable[[], Any]) -> None:
    from django.db import connection, transaction

    for _ in range(count):
        with transaction.atomic(), connection.cursor() as cursor:
            kind = f"{tamperer.edit(cursor)} {of}"
            result["tried"][kind] += 1
            if verify():
                result["found"][kind] += 1
            else:
                result["missed"].append(kind)
            transaction.set_rollback(True)


def _attempts(tamperer: Tamperer, count: int) -> dict[str, int]:
    """Edits with the triggers in their place."""
    from django.db import DatabaseError, connection, transaction

    refused = 0
    for _ in range(count):
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                while tamperer.edit(cursor) == "added" and connection.vendor == "postgresql":
                    pass  # a new row is what the table is for: its hash tells
                transaction.set_rollback(True)
        except DatabaseError as error:
            refused += "append-only" in str(error)
    return {"refused": refused, "attempts": count}


def _prepare(random: Random) -> tuple[Tamperer, Tamperer]:
    """A trail, and some days of sealed records of two tenants."""
    from django.conf import settings

    from tenants import ids, ledger, seals
    from tenants.audit import AuditEvent
    from tenants.models import ApiKey, RequestRecord, Tenant

    now = datetime.now(UTC)
    rows = []
    for slug in ("acme", "globex"):
        tenant = Tenant.objects.create(slug=slug, name=slug.title())
        key = ApiKey.objects.issue(tenant, "bot", peppers=settings.KEY_PEPPERS).row
        for number in range(RECORDS // 2):
            at = now - timedelta(days=4 + number % DAYS, seconds=number)
            rows.append(_record(tenant.pk, key.pk, ids.floor(at).int | random.getrandbits(62), number))
    ledger.write(rows, {}, Path(settings.DATA_DIR))
    seals.seal_due(now)
    while AuditEvent.objects.count() < ROWS:
        AuditEvent.objects.append("tenant.changed", tenant, before={"name": "a"}, after={"name": str(random.random())})
    trail = Tamperer(
        random,
        "tenants_auditevent",
        "seq",
        list(AuditEvent.objects.order_by("seq").values_list("pk", flat=True)),
        {
            **dict.fromkeys(("actor_name", "address", "action", "object_id", "before", "after", "context"), _text),
            **dict.fromkeys(("hash", "prev_hash"), _hex),
            **dict.fromkeys(("tenant_id", "key_number"), _number),
        },
    )
    trail.spare, trail.all_columns = lambda r: r.randrange(1000, 9999), _names(AuditEvent)
    numbers = ("status", "cost_nanos", "input_tokens", "output_tokens", "total_us", "count", "tenant_id")
    known = RequestRecord.objects.order_by("pk").values_list("pk", flat=True)
    records = Tamperer(
        random,
        "tenants_requestrecord",
        "id",
        [_stored(pk) for pk in known],
        {
            **dict.fromkeys(numbers, _number),
            **dict.fromkeys(("state", "model", "error_code", "key_hint"), _text),
        },
    )
    low, high = ids.floor(now - timedelta(days=9)).int, ids.floor(now - timedelta(days=3)).int
    records.spare = lambda r: _stored(_uuid((r.randrange(low >> 80, high >> 80) << 80) | low % (1 << 80)))
    records.all_columns = _names(RequestRecord)
    return trail, records


def _record(tenant_id: int, key_id: Any, number: int, seed: int) -> dict[str, Any]:
    return {
        "id": _uuid(number), "tenant_id": tenant_id, "key_id": key_id, "key_hint": "sk-bridge_live_x…y", "mode": "live",
        "state": "settled", "status": 200, "dialect": "chat", "model": "claude-sonnet-5-5", "input_tokens": seed,
        "output_tokens": 7, "cost_nanos": 1000 + seed, "total_us": 1_000_000,
    }  # fmt: skip


def _uuid(number: int) -> Any:
    from uuid import UUID

    return UUID(int=number)


def _stored(pk: Any) -> Any:
    from django.db import connection

    return pk if connection.vendor == "postgresql" else pk.hex


def _names(model: Any) -> list[str]:
    return [field.column for field in model._meta.concrete_fields]


def _text(random: Random, old: Any) -> str:
    """One character changed, taken away or put in."""
    text, place = str(old or ""), random.randrange(len(str(old or "")) + 1)
    return text[:place] + random.choice(["", "x", " ", '"', "0"]) + text[place + random.randrange(2) :]


def _hex(random: Random, old: str) -> str:
    place = random.randrange(len(old))
    return old[:place] + random.choice("0123456789abcdef") + old[place + 1 :]


def _number(random: Random, old: Any) -> int:
    return int(old or 0) + random.choice([1, 1000, 12345])


if __name__ == "__main__":
    print(json.dumps(main(*(int(word) for word in sys.argv[1:4]))))
