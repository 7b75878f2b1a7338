"""`manage.py export`, with the console's code, and the requests that `seed_records` makes up."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from tenants import exports, seeding
from tenants.models import ApiKey, AuditEvent, RequestRecord, Tenant, UsageDay
from tenants.usage import SUMMED
from tests.tenants.admin import conftest as cast
from tests.tenants.admin.conftest import Record, issue

pytestmark = pytest.mark.django_db
DAY = 86_400


record = cast.record  # the same fixture


@pytest.fixture
def key() -> ApiKey:
    return issue(Tenant.objects.create(slug="acme", name="Acme")).row


def export(path: Path, *options: str) -> list[dict[str, str]]:
    call_command("export", str(path), *options)
    return list(csv.DictReader(io.StringIO(path.read_text(), newline="")))


def actions() -> list[str]:
    return list(AuditEvent.objects.filter(object_type="export").order_by("seq").values_list("action", flat=True))


def test_a_file_and_its_manifest(key: ApiKey, record: Record, tmp_path: Path) -> None:
    rows = [record(key, age) for age in (30, 20, 10)]
    path = tmp_path / "requests.csv"
    assert [row["id"] for row in export(path)] == [str(row.pk) for row in rows]
    manifest = json.loads((tmp_path / "requests.csv.manifest.json").read_text())
    assert (manifest["rows"], manifest["file"]) == (3, "requests.csv")
    assert manifest["by"] == AuditEvent.objects.latest("seq").actor_name
    assert manifest["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
    assert path.stat().st_mode & 0o777 == 0o600
    assert actions() == ["records.export_began", "records.exported"]
    checked = subprocess.run(
        ["sha256sum", "-c"], input=f"{manifest['sha256']}  requests.csv\n", cwd=tmp_path, capture_output=True, text=True
    )
    assert checked.stdout == "requests.csv: OK\n"


def test_filters(key: ApiKey, record: Record, tmp_path: Path) -> None:
    other = issue(Tenant.objects.create(slug="globex", name="Globex")).row
    old, failed = record(key, 3 * DAY), record(key, 5, state="failed", model="claude-opus-5")
    foreign = record(other, 4)
    day = old.at.date().isoformat()

    def ids(*options: str) -> list[str]:
        return [row["id"] for row in export(tmp_path / "file", *options)]

    assert ids("--tenant=acme") == [str(old.pk), str(failed.pk)]
    assert ids("--key", str(other.pk)) == [str(foreign.pk)]
    assert ids("--until", day) == [str(old.pk)] == ids("--since", day, "--until", day)
    assert ids("--state=failed") == ids("--model=claude-opus-5") == [str(failed.pk)]
    assert ids("--state=open") == []
    told = AuditEvent.objects.latest("seq").told_after
    assert (told["filter"], told["query"]) == ({"state": "open"}, "--state=open")


def test_standard_output(key: ApiKey, record: Record, capfdbinary: Any) -> None:
    row = record(key)
    call_command("export", "-", "--format=jsonl")
    out, err = capfdbinary.readouterr()
    assert json.loads(out)["id"] == str(row.pk)
    assert json.loads(err)["sha256"] == hashlib.sha256(out).hexdigest()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--tenant=nobody"], "There is no tenant 'nobody'"),
        (["--since=yesterday"], "--since=yesterday is not valid"),
        (["--key=nothing"], "There is no such key"),
        (["--format=xlsx"], "invalid choice"),
    ],
)
def test_mistakes_are_named_and_nothing_is_told(options: list[str], says: str, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=says):
        call_command("export", str(tmp_path / "file"), *options)
    assert actions() == [] and list(tmp_path.iterdir()) == []


def test_a_pasted_key_is_told_by_its_public_id(key: ApiKey, tmp_path: Path) -> None:
    issued = issue(key.tenant, "pasted")
    export(tmp_path / "file", "--key", issued.key.text)
    for event in AuditEvent.objects.filter(object_type="export"):
        assert event.told_after["filter"] == {"key": issued.key.public_id} and issued.key.text not in event.after


def test_a_file_that_cannot_be_written_is_no_file(key: ApiKey, record: Record, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match="cannot be written: No such file or directory"):
        call_command("export", str(tmp_path / "missing" / "file"))
    assert actions() == []


def test_one_that_breaks_off_is_told_as_cut_and_leaves_nothing(
    key: ApiKey, record: Record, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [record(key, age) for age in (3, 2, 1)]
    monkeypatch.setattr(exports, "PAGE_ROWS", 2)
    plain, pages = exports._Requests.__call__, iter([True, False])

    def interrupted(self: Any, last: Any) -> Any:
        if next(pages):
            return plain(self, last)
        raise KeyboardInterrupt

    monkeypatch.setattr(exports._Requests, "__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        export(tmp_path / "file")
    assert actions() == ["records.export_began", "records.export_cut"]
    told = AuditEvent.objects.latest("seq").told_after
    assert (told["rows"], told["last_id"]) == (2, str(rows[1].pk))
    assert list(tmp_path.iterdir()) == []


# Made-up requests


def test_seeded_requests_look_like_real_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(seeding, "BATCH_ROWS", 70)
    call_command("seed_records", "300", "--days=3", "--tenants=2", "--keys=2")
    rows = list(RequestRecord.objects.order_by("pk"))
    assert len(rows) == 300 and len({row.key_id for row in rows}) == 4
    assert (rows[-1].at - rows[0].at).days == 2
    assert {"settled", "refused"} <= {row.state for row in rows}
    (total,) = UsageDay.objects.summed()
    assert total["requests"] == 300
    assert all(total[name] == sum(getattr(row, name) or 0 for row in rows) for name in SUMMED)


def test_seeded_requests_are_not_mixed_with_real_ones(key: ApiKey, record: Record) -> None:
    record(key)
    with pytest.raises(CommandError, match="Requests are on record"):
        call_command("seed_records", "10")
    assert RequestRecord.objects.count() == 1
    with pytest.raises(CommandError, match="count=0 is not valid"):
        call_command("seed_records", "0")
