"""Carol takes requests away from a real server, and checks that what she has is what the audit trail says she took."""

from __future__ import annotations

import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, expect

from tests.browser.conftest import Shoot
from tests.live import Server

PASSWORD = "a sentence of Carol's own"
AUDITOR = """
from tenants.models import User
User.objects.create_user("carol", password=%r, is_staff=True, role="auditor")
"""


@pytest.fixture
def server() -> Iterator[Server]:
    with Server({"UPSTREAM": "sandbox"}, workers=1) as server:
        server.manage("seed_records", "3000", "--days=20", "--tenants=3", "--keys=2")
        server.manage("shell", "-c", AUDITOR % PASSWORD)
        yield server


def test_an_auditor_exports_and_verifies(page: Page, server: Server, shoot: Shoot, tmp_path: Path) -> None:
    page.goto(f"{server.url}/admin/")
    page.get_by_label("Username").fill("carol")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.locator("#console-nav").get_by_role("link", name="Requests").click()
    page.locator("select[name=since]").select_option("7d")
    page.locator("select[name=state]").select_option("refused")
    expect(page.get_by_text("Export these rows, all pages")).to_be_visible()
    shoot("requests-export")

    with page.expect_download() as download:
        page.get_by_role("button", name="CSV", exact=True).click()
    name = download.value.suggested_filename
    download.value.save_as(tmp_path / name)
    file = (tmp_path / name).read_bytes()
    rows = [row for row in server.records(state="refused") if row["id"] in file.decode()]
    assert len(rows) == file.count(b"\n") - 1 > 20

    page.get_by_role("link", name="Your exports").click()
    expect(page.get_by_text("time: Last 7 days")).to_be_visible()
    shoot("exports")
    page.get_by_role("button", name="Copy").click()
    command = page.evaluate("navigator.clipboard.readText()")
    done = subprocess.run(["sh", "-c", command], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == f"{name}: OK\n", (command, done)
    with page.expect_download() as download:
        page.get_by_role("link", name="Manifest").click()
    download.value.save_as(tmp_path / "manifest.json")
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert (manifest["rows"], manifest["by"]) == (len(rows), "carol")
    assert manifest["sha256"] == hashlib.sha256(file).hexdigest()

    page.locator("#console-nav").get_by_role("link", name="Audit").click()
    page.locator("select[name=action]").select_option("records.exported")
    page.locator("#result_list tbody th a").first.click()
    expect(page.get_by_text(manifest["sha256"])).to_be_visible()
    expect(page.get_by_text(manifest["event_hash"])).to_be_visible()
    shoot("export-event")
