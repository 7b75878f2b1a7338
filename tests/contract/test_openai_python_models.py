"""The list of models, and one of them, as openai's Python client of today reads them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import openai
import pytest

from tests.contract.clients import (
    ECHO,
    MODEL,
    Client,
)
from tests.live import Server


def test_the_models_are_listed_newest_first(client: Client) -> None:
    models = client.models()
    assert MODEL in [model.id for model in models]
    assert [model.created for model in models] == sorted((model.created for model in models), reverse=True)


def test_the_list_can_be_walked_in_pages(client: Client) -> None:
    every = [model.id for model in client.models(limit=1000)]
    walked: list[str] = []
    page = [model.id for model in client.models(limit=5)]
    while page:
        assert len(page) <= 5
        walked += page
        more = json.loads(client.tape.last.body)["has_more"]
        page = [model.id for model in client.models(limit=5, after=page[-1])]
        assert bool(page) is more
    assert walked == every


def test_the_first_twenty_models_are_the_default(client: Client, many_models: Server) -> None:
    client = client.but(base_url=many_models.base, api_key=many_models.issue_key("acme", "models"))
    first = [model.id for model in client.models()]
    assert len(first) == 20
    assert json.loads(client.tape.last.body)["has_more"] is True
    assert [model.id for model in client.models(limit=1000)][:20] == first
    assert len(client.models(limit=1000)) == 45
    assert [model.id for model in client.models(limit=1, after=first[-1])] == ["model-20"]
    assert len(client.models(after=first[-1])) == 20


@pytest.mark.parametrize(
    ("query", "param"),
    [({"limit": 0}, "limit"), ({"limit": 1001}, "limit"), ({"limit": "x"}, "limit"), ({"after": "nobody"}, "after")],
)
def test_a_page_that_cannot_be_is_explained(client: Client, query: dict[str, Any], param: str) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.models(**query)
    assert (caught.value.code, caught.value.param) == ("invalid_value", param)


def test_a_model_is_found_by_its_name(client: Client) -> None:
    assert client.model(MODEL) == next(model for model in client.models() if model.id == MODEL)


def test_a_model_is_found_by_its_other_name(client: Client) -> None:
    assert client.model("claude-haiku-4-5").id == "claude-haiku-4-5-20251001"


def test_an_answer_names_the_model_that_gave_it(client: Client) -> None:
    assert client.whole("Hello", model="claude-haiku-4-5").model == "claude-haiku-4-5-20251001"
    assert client.streamed("Hello", model="claude-haiku-4-5").chunks[0]["model"] == "claude-haiku-4-5-20251001"


@pytest.mark.parametrize("name", ["gpt-nine", "org/model", "claude-sonnet-5-5 ", "modèle", "a?b#c"])
def test_an_unknown_model_is_not_found(client: Client, name: str) -> None:
    for ask in (lambda: client.model(name), lambda: client.whole("Hello", model=name)):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert (caught.value.code, caught.value.param) == ("model_not_found", "model")
        assert f"The model `{name}` does not exist or you do not have access to it." in caught.value.message


def test_a_key_sees_only_its_own_models(client: Client, server: Server) -> None:
    client = client.but(api_key=server.issue_key("acme", "haiku only", "--models", "claude-haiku-5-5"))
    assert [model.id for model in client.models()] == ["claude-haiku-5-5"]
    assert client.whole(ECHO + "Hello", model="claude-haiku-5-5").choices[0].message.content == "Hello"
    for ask in (lambda: client.whole("Hello"), lambda: client.model(MODEL)):
        with pytest.raises(openai.NotFoundError) as caught:
            ask()
        assert caught.value.code == "model_not_found"


# --- An upstream with many models -----------------------------------------------------------------------------------


class ManyModels(BaseHTTPRequestHandler):
    """Lists 45 models, newest first, in Anthropic's shape."""

    def do_GET(self) -> None:
        rows = [
            {"id": f"model-{n}", "type": "model", "display_name": f"Model {n}", "created_at": "2026-01-01T00:00:00Z"}
            for n in range(45)
        ]
        page = {"data": rows, "has_more": False, "first_id": rows[0]["id"], "last_id": rows[-1]["id"]}
        body = json.dumps(page).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture(scope="module")
def many_models() -> Iterator[Server]:
    with ThreadingHTTPServer(("127.0.0.1", 0), ManyModels) as upstream:
        threading.Thread(target=upstream.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{upstream.server_port}"
        with Server({"ANTHROPIC_BASE_URL": url, "ANTHROPIC_API_KEY": "sk-ant-test"}, workers=2) as server:
            yield server
        upstream.shutdown()
