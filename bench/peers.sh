#!/usr/bin/env bash
# Installs LiteLLM, TensorZero (PyPI) and Portkey (npm) into bench/.peers and measures them in one run with Bridge and
# the floor. Arguments are bench.run's. Needs two cores with nothing else on them.

set -euo pipefail
cd "$(dirname "$0")/.."
export BENCH_PEERS=${BENCH_PEERS:-$PWD/bench/.peers}
mkdir -p "$BENCH_PEERS"
if [ ! -x "$BENCH_PEERS/venv/bin/litellm" ]; then
  python3 -m venv "$BENCH_PEERS/venv"
  "$BENCH_PEERS/venv/bin/pip" install --quiet --disable-pip-version-check 'litellm[proxy]==1.106.2' 'tensorzero==2026.6.0'
fi
if [ ! -d "$BENCH_PEERS/node_modules/@portkey-ai" ]; then
  # Its streams fail with the @hono/node-server that it would install (1.19.19, on Node 20): an older one works.
  echo '{"private": true, "dependencies": {"@portkey-ai/gateway": "1.15.2", "@hono/node-server": "1.11.0"},
    "overrides": {"@hono/node-server": "1.11.0"}}' >"$BENCH_PEERS/package.json"
  (cd "$BENCH_PEERS" && npm install --silent)
fi
exec .venv/bin/python -m bench.run floor bridge litellm portkey tensorzero "$@"
