"""The HTTP/1.1 client over TLS: whom it trusts, and that its connections are kept."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from bridge.upstream_http1 import Http1Transport
from tests.raw_server import CHUNKED, OK, always, answer, post, serving


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A certificate for `localhost` that signs itself, and its key, in one file."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    path = tmp_path_factory.mktemp("tls") / "localhost.pem"
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.write_bytes(secret + made.public_bytes(Encoding.PEM))
    return str(path)


def server_tls(certificate: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


async def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: str) -> None:
    transport = Http1Transport()
    async with serving(always(OK), server_tls(certificate)) as server:
        with pytest.raises(httpx.ConnectError):
            await answer(transport, post(server))


async def test_a_certificate_for_another_name_is_refused(certificate: str) -> None:
    transport = Http1Transport(ssl.create_default_context(cafile=certificate))
    async with serving(always(OK), server_tls(certificate)) as server:
        with pytest.raises(httpx.ConnectError):
            await answer(transport, post(server))


async def test_answers_come_over_tls_and_the_connection_is_used_again(certificate: str) -> None:
    transport = Http1Transport(ssl.create_default_context(cafile=certificate))
    async with serving(always(CHUNKED + b"2\r\nok\r\n0\r\n\r\n"), server_tls(certificate)) as server:
        server.url = server.url.replace("127.0.0.1", "localhost")
        for _ in range(3):
            assert await answer(transport, post(server, b"x" * 1_000_000)) == (200, b"ok")
        assert len(server.visits) == 1
    await transport.aclose()
