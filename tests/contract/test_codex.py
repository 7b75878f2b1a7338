"""Codex works: it runs a command that the sandbox asks for, and reads the answer to what came of it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from tests.contract import environment
from tests.live import Server

CONFIG = """
model = "claude-sonnet-5-5"
model_provider = "bridge"
model_reasoning_effort = "low"
model_reasoning_summary = "auto"
[model_providers.bridge]
name = "Bridge"
base_url = "{base}"
env_key = "BRIDGE_API_KEY"
wire_api = "responses"
supports_websockets = {websocket}
"""


@pytest.fixture(scope="module", params=["false", "true"], ids=["http", "websocket"])
def told(
    request: pytest.FixtureRequest, server: Server, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, object]]:
    """What `codex exec` says, event by event."""
    before = _prepared(server)
    codex = environment.installed("codex") / "node_modules" / ".bin" / "codex"
    home, work = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("work")
    (home / "config.toml").write_text(CONFIG.format(base=server.base, websocket=request.param))
    done = _run(codex, home, work, server)
    assert done.returncode == 0, done.stderr[-4000:]
    assert (_prepared(server) > before) is (request.param == "true")
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]


def _prepared(server: Server) -> int:
    """How often it asked for no answer, which it does over a WebSocket alone, and goes on when it is refused."""
    refused = server.records(state="refused", error_code="unsupported_parameter")
    return len([record for record in refused if record["refusal"]["param"] == "generate"])


def _run(codex: Path, home: Path, work: Path, server: Server) -> subprocess.CompletedProcess[str]:
    options = ["--skip-git-repo-check", "--sandbox", "read-only", "--json"]
    return subprocess.run(
        [str(codex), "exec", *options, "[sandbox:tool name=exec_command] Run it"],
        env=environment.variables(server) | {"CODEX_HOME": str(home)},
        cwd=work,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=environment.RUN_SECONDS,
    )


def _items(told: list[dict[str, object]], kind: str) -> list[dict[str, object]]:
    found = [event["item"] for event in told if event["type"] == "item.completed"]
    return [item for item in found if isinstance(item, dict) and item["type"] == kind]


def test_it_runs_the_command(told: list[dict[str, object]]) -> None:
    (command,) = _items(told, "command_execution")
    assert str(command["command"]).startswith("/bin/") and command["exit_code"] is not None


def test_it_reads_the_answer_to_what_came_of_it(told: list[dict[str, object]]) -> None:
    (answer,) = _items(told, "agent_message")
    assert str(answer["text"]).startswith(environment.SANDBOX)
    assert told[-1]["type"] == "turn.completed"


def test_it_shows_the_reasoning_of_both_steps(told: list[dict[str, object]]) -> None:
    assert [str(item["text"])[:14] for item in _items(told, "reasoning")] == ["I am a sandbox"] * 2
