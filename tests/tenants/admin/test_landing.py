"""The landing page and the small pages for errors."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.exceptions import PermissionDenied
from django.test import Client, RequestFactory

from proxysite import landing
from tenants.admin.middleware import POLICY


def test_a_browser_learns_what_this_is_without_the_database(client: Client, settings: Any) -> None:
    settings.PUBLIC_URL, settings.UPSTREAM = "https://bridge.example.com", "sandbox"
    response = client.get("/")
    page = response.content.decode()
    assert response.status_code == 200
    assert response.headers["Content-Security-Policy"] == POLICY
    for text in ("https://bridge.example.com/v1", "$BRIDGE_KEY", "/admin/", "/healthz", "README.md", "Sandbox"):
        assert text in page
    assert not response.cookies


def test_the_base_url_is_the_address_that_was_asked(client: Client) -> None:
    assert b"http://localhost:5000/v1" in client.get("/", headers={"host": "localhost:5000"}).content


def test_it_is_only_looked_at(client: Client) -> None:
    assert client.post("/").status_code == 405
    assert client.head("/").status_code == 200


def test_an_unknown_host_gets_a_guarded_page(client: Client) -> None:
    response = client.get("/", headers={"host": "evil.example.com"})
    assert response.status_code == 400
    assert response.headers["Content-Security-Policy"] == POLICY
    assert b"evil" not in response.content


def test_an_unknown_page_is_a_small_one(client: Client) -> None:
    response = client.get("/static/nothing.css")
    assert response.status_code == 404 and b"no page at this address" in response.content


@pytest.mark.parametrize(
    ("status", "response"),
    [
        (400, landing.bad_request(RequestFactory().get("/"), ValueError())),
        (403, landing.forbidden(RequestFactory().get("/"), PermissionDenied())),
        (404, landing.not_found(RequestFactory().get("/"), ValueError())),
        (500, landing.server_error(RequestFactory().get("/"))),
    ],
)
def test_error_pages_need_nothing_to_work(status: int, response: Any) -> None:
    assert response.status_code == status
    assert response.headers["Content-Security-Policy"] == POLICY
    assert b"<h1>" in response.content
