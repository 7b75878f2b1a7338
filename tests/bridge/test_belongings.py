"""What of the shared upstream account a tenant may name: the containers it was told of, and nothing else."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from asgiref.sync import sync_to_async

from bridge.belongings import Belongings
from bridge.errors import ApiError
from bridge.wire.anthropic import Frame
from tenants.models import Tenant
from tests import wire
from tests.asgi import Client
from tests.conftest import Stage, issue
from tests.native import COUNT, PATH, error, events, hello

ID = "container_011Test"
ACME, OTHER = Belongings("secret", 1), Belongings("secret", 2)


def refused(belongings: Belongings, **body: Any) -> tuple[str | None, str | None]:
    with pytest.raises(ApiError) as caught:
        belongings.opened(body)
    assert caught.value.status == 400
    return caught.value.code, caught.value.param


def sealed(belongings: Belongings, kind: str = "message_delta", name: str = "delta") -> str:
    raw = wire.event(kind, **{name: {"container": {"id": ID, "expires_at": "2026-01-01"}}}, usage={"output_tokens": 1})
    (frame,) = belongings.sealed([Frame(raw, raw.split(b"data: ")[1].strip())])
    assert frame.raw == b"event: " + kind.encode() + b"\ndata: " + frame.data + b"\n\n"
    event = msgspec.json.decode(frame.data)
    assert event[name]["container"].pop("expires_at") and event["usage"] == {"output_tokens": 1}
    told: str = event[name]["container"]["id"]
    return told


@pytest.mark.parametrize(("kind", "name"), [("message_start", "message"), ("message_delta", "delta")])
def test_a_container_is_taken_back_as_it_was_told(kind: str, name: str) -> None:
    told = sealed(ACME, kind, name)
    assert told.startswith(ID) and told != ID
    assert ACME.opened({"container": told, "x": 1}) == {"container": ID, "x": 1}
    skills = [{"type": "anthropic", "skill_id": "pdf"}]
    assert ACME.opened({"container": {"id": told, "skills": skills}})["container"] == {"id": ID, "skills": skills}


def test_another_tenants_is_not_nor_one_that_nobody_was_told_of() -> None:
    told = sealed(ACME)
    for given in (told, ID, "", ".", 5, f"{ID}.{'0' * 32}", told[:-1], told + "0", f"x{told}", "é.é"):
        assert refused(OTHER, container=given)[1] == "container"
        assert refused(OTHER, container={"id": given})[1] == "container"
    assert refused(Belongings("another secret", 1), container=told)[1] == "container"
    assert refused(ACME, container=[told]) == ("invalid_type", "container")


def test_custom_skills_are_refused_and_anthropics_are_not() -> None:
    skills = [{"type": "anthropic", "skill_id": "pdf"}]
    assert ACME.opened({"container": {"skills": skills}}) == {"container": {"skills": skills}}
    for skill in ({"type": "custom", "skill_id": "skill_1"}, {"skill_id": "skill_1"}):
        assert refused(ACME, container={"skills": [*skills, skill]}) == ("invalid_value", "container")


FILE = {"type": "file", "file_id": "file_1"}


@pytest.mark.parametrize(
    "block",
    [
        {"type": "document", "source": FILE},
        {"type": "image", "source": FILE},
        {"type": "container_upload", "file_id": "file_1"},
        {"type": "tool_result", "content": [{"type": "document", "source": FILE}]},
        {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": FILE}]}},
    ],
)
@pytest.mark.parametrize("role", ["user", "assistant"])
def test_files_are_refused_wherever_they_are_named(role: str, block: Any) -> None:
    turn = {"role": role, "content": [{"type": "text", "text": "Hi"}, block]}
    assert refused(ACME, messages=[turn]) == ("unsupported_value", "messages")


def test_what_only_tells_of_a_file_passes() -> None:
    output = {"type": "bash_code_execution_output", "file_id": "file_1"}
    told = {"type": "bash_code_execution_tool_result", "content": {"type": "x", "content": [output]}}
    call = {"type": "tool_use", "input": {"file_id": "file_1", "content": [FILE]}}
    body = {"messages": [{"role": "assistant", "content": [told, call]}, 5, {"role": "user", "content": "file_id"}]}
    assert ACME.opened(body) == body


def test_other_events_stay_upstreams_own_bytes() -> None:
    for fields in (
        {"delta": {"container": None}},
        {"delta": 5},
        {"container": {"id": ID}},
        {"delta": {"container": {}}},
    ):
        raw = wire.event("message_delta", **fields)
        frame = Frame(raw, raw.split(b"data: ")[1].strip())
        assert ACME.sealed([frame]) == [frame]


# --- through the door ---


def ran_code(**_: Any) -> Any:
    delta = {"stop_reason": "end_turn", "stop_sequence": None, "container": {"id": ID, "expires_at": "2026-01-01"}}
    end = [wire.event("message_delta", delta=delta, usage={"output_tokens": 7}), wire.event("message_stop")]
    return lambda _: wire.streamed(wire.start(), *wire.text_block("Done."), *end)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_container_goes_out_sealed_and_comes_back_to_its_tenant_only(stage: Stage, stream: bool) -> None:
    transport = stage.play(ran_code())
    got = await stage.client.post(PATH, hello(stream=stream))
    told = events(got)[-2]["delta"]["container"] if stream else got.json()["container"]
    assert told["id"] != ID and told["expires_at"] == "2026-01-01"
    for path in (PATH, COUNT):
        stage.play(ran_code() if path == PATH else wire.reply(200, b"{}"))
        assert (await stage.client.post(path, hello(container=told["id"]))).status == 200
        assert stage.transport.sent()["container"] == ID
    tenant = await sync_to_async(Tenant.objects.create)(slug="other", name="Other")
    mallory = Client(stage.app, (await sync_to_async(issue)(tenant)).text)
    transport = stage.play(ran_code())
    for path in (PATH, COUNT):
        for given in (told["id"], ID):
            assert error(await mallory.post(path, hello(container=given)))[:2] == (400, "invalid_request_error")
    assert transport.requests == []


async def test_a_file_is_a_400_on_every_endpoint(stage: Stage) -> None:
    part = {"type": "file", "file": {"file_id": "file_1"}}
    got = await stage.client.chat([part])  # type: ignore[arg-type]
    assert (got.status, got.error["code"], got.error["param"]) == (400, "unsupported_value", "messages")
    for path in (PATH, COUNT):
        got = await stage.client.post(path, hello([{"type": "document", "source": FILE}]))  # type: ignore[arg-type]
        assert error(got)[:2] == (400, "invalid_request_error")
    assert stage.transport.requests == []
