"""As it is served: the environment, a worker, both doors and the log, with the provider away and there."""

from __future__ import annotations

import http.cookiejar
import urllib.request
from contextlib import suppress
from urllib.parse import urlsplit

from tests.live import Server
from tests.provider import CLIENT_ID, CLIENT_SECRET, FakeProvider

LEAKED = "a-code-in-an-address-that-is-refused"


def browser() -> urllib.request.OpenerDirector:
    """Keeps cookies and follows, also to the provider and back."""
    cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
    return urllib.request.build_opener(urllib.request.ProxyHandler({}), cookies)


def served(provider: FakeProvider) -> Server:
    server = Server({"UPSTREAM": "sandbox", "DJANGO_SUPERUSER_EMAIL": "dora@example.com"}, workers=1)
    server.env |= {
        "PUBLIC_URL": server.url,
        "OIDC_ISSUER": provider.issuer,
        "OIDC_CLIENT_ID": CLIENT_ID,
        "OIDC_CLIENT_SECRET": CLIENT_SECRET,
    }
    return server


def test_while_the_provider_is_away_the_site_starts_and_keys_work_and_then_people_come_in() -> None:
    with FakeProvider() as provider:
        provider.down = True
        with served(provider) as server:
            asks = urllib.request.Request(f"{server.base}/key", headers={"x-api-key": server.test_key})
            with browser().open(asks) as answer:
                assert answer.status == 200 and provider.calls == []
            dora = browser()
            with dora.open(f"{server.url}/admin/sso/") as page:
                assert urlsplit(page.url).path == "/admin/login/" and b"cannot be reached" in page.read()
            provider.down = False
            with dora.open(f"{server.url}/admin/sso/?next=/admin/tenants/tenant/") as page:
                assert urlsplit(page.url).path == "/admin/tenants/tenant/" and b"First steps" in page.read()
            with suppress(OSError):  # 403: a form that is not ours
                dora.open(f"{server.url}/admin/sso/callback/?code={LEAKED}", data=b"x=y")
            assert "/admin/sso/callback/" in server.log()
            assert not [secret for secret in (*provider.told, CLIENT_SECRET, LEAKED) if secret in server.log()]
