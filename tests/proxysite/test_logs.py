"""Log lines hold no secret, whatever is logged and however it fails."""

from __future__ import annotations

import io
import json
import logging
import sys

import pytest

from proxysite.logs import JSONFormatter, NoFrameVariables, Redact, TextFormatter, redact
from tenants import keys
from tenants.values import Mode

OURS = keys.mint(Mode.LIVE)
SECRETS = [OURS.text, "sk-ant-api03-" + "x" * 20, "Bearer abcdefghijkl", "hunter2secret", "JBSWY3DPEHPK3PXP"]


def logged(formatter: logging.Formatter, *args: object, **kwargs: object) -> str:
    out = io.StringIO()
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    handler.addFilter(Redact())
    logger = logging.Logger("test")
    logger.addHandler(handler)
    logger.error(*args, **kwargs)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_secrets_are_removed_from_messages_arguments_extras_and_traces(formatter: logging.Formatter) -> None:
    url = "postgres://bridge:hunter2secret@db/bridge"
    try:
        raise RuntimeError(" ".join([*SECRETS[:3], url, f"otpauth://totp/Bridge:alice?secret={SECRETS[4]}"]))
    except RuntimeError:
        text = logged(
            formatter, f"{OURS.text} %s", SECRETS[1], extra={"header": SECRETS[2], "url": url}, exc_info=sys.exc_info()
        )
    assert not [secret for secret in SECRETS if secret in text]
    assert OURS.public_id in text and "RuntimeError" in text


@pytest.mark.parametrize("formatter", [JSONFormatter(), TextFormatter()])
def test_objects_that_show_a_secret_are_redacted_too(formatter: logging.Formatter) -> None:
    class Request:
        def __repr__(self) -> str:
            return f"<GET /?q={OURS.text}>"

    assert OURS.text not in logged(formatter, "Not Found", extra={"request": Request(), "more": [OURS.text]})


def test_a_line_is_one_json_object() -> None:
    line = json.loads(logged(JSONFormatter(), "hello\n%s", "world", extra={"request_id": "r", "odd": object()}))
    assert (line["message"], line["level"], line["request_id"]) == ("hello\nworld", "error", "r")


def test_a_providers_code_in_an_address_is_removed() -> None:
    told = redact("<ASGIRequest: GET '/admin/sso/callback/?state=abc&code=4%2F0Ab-c_d&iss=https%3A'>")
    assert "4%2F0Ab" not in told and "state=abc" in told and "iss=https" in told


def test_plain_text_is_left_alone() -> None:
    assert redact("sk-bridge is a prefix, basic facts too") == "sk-bridge is a prefix, basic facts too"


def test_error_reports_show_no_variables() -> None:
    assert list(NoFrameVariables().get_traceback_frame_variables(None, sys._getframe())) == []
