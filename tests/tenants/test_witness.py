"""The head of the trail goes to the log every hour, once for all workers."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest

from tenants import witness
from tenants.audit import AuditEvent
from tenants.models import Installation

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def test_the_head_is_said_once_an_hour(db: None, caplog: pytest.LogCaptureFixture) -> None:
    Installation.objects.get_or_create(pk=1)
    AuditEvent.objects.append("audit.exported")
    with caplog.at_level(logging.INFO):
        assert witness.tell_if_due(NOW) == AuditEvent.objects.head()
        assert witness.tell_if_due(NOW + timedelta(minutes=59)) is None
        assert witness.tell_if_due(NOW + timedelta(minutes=61)) is not None
    said = [vars(record)["head"] for record in caplog.records if record.message == "audit trail"]
    assert said == [str(AuditEvent.objects.head())] * 2
