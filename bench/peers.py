"""The other gateways, as `bench/peers.sh` installs them, for `bench.run`: each with as little to do as it can have.

LiteLLM has one key in memory, no database and no log; Portkey and TensorZero neither authenticate nor log. Bridge does
all of that in the same run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.servers import MODEL, System, free_port, process

# TensorZero has no program in its wheel, only the gateway inside; it chooses its own port and says it.
_TENSORZERO = """
import asyncio, sys
from tensorzero import tensorzero
async def main():
    gateway = await tensorzero._start_http_gateway(
        config_file=sys.argv[1], clickhouse_url=None, postgres_url=None, valkey_url=None, async_setup=True)
    print("serves", gateway.base_url, flush=True)
    await asyncio.Event().wait()
asyncio.run(main())
"""
_TENSORZERO_CONFIG = """
[gateway]
observability.enabled = false
[models.bench]
routing = ["anthropic"]
[models.bench.providers.anthropic]
type = "anthropic"
model_name = "{model}"
api_base = "{upstream}/v1"
api_key_location = "env::BENCH_KEY"
"""
_LITELLM_CONFIG = """
model_list:
  - model_name: {model}
    litellm_params:
      model: anthropic/{model}
      api_base: {upstream}
      api_key: none
general_settings:
  master_key: sk-bench
"""


def _installed() -> Path:
    return Path(os.environ["BENCH_PEERS"])


def _env(**more: str) -> dict[str, str]:
    return {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/"), **more}


@contextmanager
def litellm(upstream: str, folder: Path) -> Iterator[System]:
    port, config = free_port(), folder / "litellm.yaml"
    config.write_text(_LITELLM_CONFIG.format(model=MODEL, upstream=upstream))
    command = [str(_installed() / "venv/bin/litellm"), "--config", str(config), "--port", str(port)]
    command += ["--host", "127.0.0.1", "--num_workers", "1"]
    with process(command, 1, _env(LITELLM_LOG="ERROR"), port, folder / "litellm.log") as pid:
        yield System("litellm", f"http://127.0.0.1:{port}/v1/chat/completions", "sk-bench", pid)


@contextmanager
def portkey(upstream: str, folder: Path) -> Iterator[System]:
    port = free_port()
    program = _installed() / "node_modules/@portkey-ai/gateway/build/start-server.js"
    command = ["node", str(program), f"--port={port}", "--headless"]
    headers = ("x-portkey-provider: anthropic", f"x-portkey-custom-host: {upstream}/v1")
    with process(command, 1, _env(NODE_ENV="production"), port, folder / "portkey.log") as pid:
        yield System("portkey", f"http://127.0.0.1:{port}/v1/chat/completions", "none", pid, headers=headers)


@contextmanager
def tensorzero(upstream: str, folder: Path) -> Iterator[System]:
    config, log = folder / "tensorzero.toml", folder / "tensorzero.log"
    config.write_text(_TENSORZERO_CONFIG.format(model=MODEL, upstream=upstream))
    command = [str(_installed() / "venv/bin/python"), "-c", _TENSORZERO, str(config)]
    with process(command, 1, _env(BENCH_KEY="none"), None, log, says=b"serves ") as pid:
        found = re.search(rb"serves (\S+)", log.read_bytes())
        assert found is not None
        url = found[1].decode() + "/chat/completions"
        yield System("tensorzero", url, "none", pid, "tensorzero::model_name::bench")


PEERS = {"litellm": litellm, "portkey": portkey, "tensorzero": tensorzero}
