"""A small OpenID provider on the loopback interface, with real keys: what it tells and how it lies is up to the test.

    with FakeProvider() as provider:
        back = provider.visit(address)     the browser's part: the address that it sends people back to
        provider.claims["email"] = …       what its next ID token says; None leaves a claim out
        provider.down = True               it answers 503

It refuses what a strict provider refuses: a code used twice, a wrong secret, a verifier that does not fit (PKCE, S256).
"""

from __future__ import annotations

import base64
import functools
import hashlib
import http.server
import json
import secrets
import threading
import time
from types import TracebackType
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, rsa

CLIENT_ID, CLIENT_SECRET = "bridge", "what-bridge-and-its-provider-know"
SUBJECT = "dora-at-the-provider"


@functools.cache
def rsa_key(name: str) -> Any:
    """One for each name: they are slow to make."""
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


@functools.cache
def ec_key() -> Any:
    return ec.generate_private_key(ec.SECP256R1())


def as_jwk(key: Any, kid: str) -> dict[str, Any]:
    kind = jwt.algorithms.RSAAlgorithm if isinstance(key, rsa.RSAPrivateKey) else jwt.algorithms.ECAlgorithm
    return {**kind.to_jwk(key.public_key(), as_dict=True), "kid": kid, "use": "sig"}


class FakeProvider:
    def __init__(self) -> None:
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self.issuer = f"http://127.0.0.1:{self._server.server_port}"
        self.claims: dict[str, Any] = {}  # in place of what it would say
        self.userinfo: dict[str, Any] = {"sub": SUBJECT}
        self.document: dict[str, Any] = {}  # the same for its discovery document
        self.headers: dict[str, Any] = {"kid": "first"}
        self.key, self.algorithm = rsa_key("first"), "RS256"
        self.down = False
        self.refuses = ""  # the error that it sends people back with
        self.codes: dict[str, dict[str, str]] = {}
        self.asked: list[dict[str, str]] = []  # what people came with
        self.calls: list[str] = []  # paths, in order
        self.told: list[str] = []  # every code and token that it gave away

    def __enter__(self) -> FakeProvider:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def visit(self, address: str) -> str:
        """As a browser would, where somebody is signed in: no page, and back at once."""
        assert address.startswith(f"{self.issuer}/authorize?")
        asked = {name: value[0] for name, value in parse_qs(urlsplit(address).query).items()}
        self.asked.append(asked)
        back = {"state": asked["state"], "iss": self.issuer}
        if self.refuses:
            return f"{asked['redirect_uri']}?{urlencode({**back, 'error': self.refuses})}"
        code = self._secret("code")
        self.codes[code] = asked
        return f"{asked['redirect_uri']}?{urlencode({**back, 'code': code})}"

    def token(self, form: dict[str, str], authorization: str) -> tuple[int, dict[str, Any]]:
        asked = self.codes.pop(form.get("code", ""), None)
        basic = "Basic " + base64.b64encode(f"{CLIENT_ID}:{CLIENT_SECRET}".encode()).decode()
        if form.get("client_secret") != CLIENT_SECRET and authorization != basic:
            return 401, {"error": "invalid_client", "error_description": f"not {form.get('client_secret')}"}
        digest = hashlib.sha256(form.get("code_verifier", "").encode()).digest()
        challenge = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
        fits = asked and (asked["code_challenge"], asked["code_challenge_method"]) == (challenge, "S256")
        if not (asked and fits and asked["redirect_uri"] == form.get("redirect_uri")):
            return 400, {"error": "invalid_grant"}
        access = self._secret("access")
        return 200, {"access_token": access, "token_type": "Bearer", "id_token": self.id_token(asked)}

    def id_token(self, asked: dict[str, str]) -> str:
        now = int(time.time())
        says = {
            "iss": self.issuer, "aud": CLIENT_ID, "sub": SUBJECT, "iat": now, "exp": now + 300, "auth_time": now,
            "nonce": asked["nonce"], "email": "dora@example.com", "email_verified": True, **self.claims,
        }  # fmt: skip
        says = {name: value for name, value in says.items() if value is not None}
        token = jwt.encode(says, self.key, self.algorithm, headers=self.headers)
        self.told.append(token)
        return token

    def described(self) -> dict[str, Any]:
        return {
            "issuer": self.issuer,
            "authorization_endpoint": f"{self.issuer}/authorize",
            "token_endpoint": f"{self.issuer}/token",
            "jwks_uri": f"{self.issuer}/keys",
            "userinfo_endpoint": f"{self.issuer}/userinfo",
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256"],
            "token_endpoint_auth_methods_supported": ["client_secret_post"],
            **self.document,
        }

    def answer(self, path: str) -> tuple[int, dict[str, Any]]:
        if path == "/.well-known/openid-configuration":
            return 200, self.described()
        if path == "/keys":
            return 200, {"keys": [as_jwk(rsa_key("first"), "first"), as_jwk(ec_key(), "curve")]}
        return (200, self.userinfo) if path == "/userinfo" else (404, {})

    def _secret(self, kind: str) -> str:
        self.told.append(f"{kind}-{secrets.token_urlsafe(24)}")
        return self.told[-1]

    def _handler(fake) -> type[http.server.BaseHTTPRequestHandler]:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                url = urlsplit(self.path)
                fake.calls.append(url.path)
                if url.path == "/authorize":
                    self.send_response(302)
                    self.send_header("Location", fake.visit(f"{fake.issuer}{self.path}"))
                    self.end_headers()
                    return
                self._json(*((503, {}) if fake.down else fake.answer(url.path)))

            def do_POST(self) -> None:
                fake.calls.append(self.path)
                text = self.rfile.read(int(self.headers["Content-Length"])).decode()
                form = {name: value[0] for name, value in parse_qs(text).items()}
                self._json(*((503, {}) if fake.down else fake.token(form, self.headers.get("Authorization", ""))))

            def _json(self, status: int, body: dict[str, Any]) -> None:
                content = json.dumps(body).encode()
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *args: Any) -> None:
                pass

        return Handler
