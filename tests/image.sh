#!/usr/bin/env bash
# Runs the Dockerfile's steps in an empty folder, for machines without a container engine: what it copies must be enough
# to serve. Usage: tests/image.sh [PORT]; with REQUIREMENTS=requirements-oidc.txt as with that build argument.
set -euo pipefail
cd "$(dirname "$0")/.."
port=${1:-5099}
root=$(mktemp -d)
trap 'kill "${server:-}" 2>/dev/null || true; wait 2>/dev/null || true; rm -rf "$root"' EXIT

mkdir "$root/app" "$root/data"
# Exactly the COPY lines, so that a forgotten file is missed here too.
sed -n 's/^COPY \(requirements.txt requirements-oidc.txt\|manage.py LICENSE\|proxysite\|bridge\|tenants\) .*/\1/p' Dockerfile | while read -r names; do
  for name in $names; do cp -r "$name" "$root/app/$name"; done
done
python3 -m venv "$root/venv"
"$root/venv/bin/pip" install --quiet --no-cache-dir --disable-pip-version-check -r "$root/app/${REQUIREMENTS:-requirements.txt}"
cd "$root/app"
"$root/venv/bin/python" -m compileall -q proxysite bridge tenants

env -i PATH="$root/venv/bin:/usr/bin:/bin" PYTHONUNBUFFERED=1 DATA_DIR="$root/data" HOST=127.0.0.1 PORT="$port" \
  python manage.py serve >"$root/log" 2>&1 &
server=$!
for _ in $(seq 150); do
  curl -fs "http://127.0.0.1:$port/readyz" >/dev/null && break
  kill -0 "$server" 2>/dev/null || { cat "$root/log"; exit 1; }
  sleep 0.2
done
key=$(grep -o 'sk-bridge_test_[0-9A-Za-z]*' "$root/data/first-login.txt")
answer=$(curl -fs "http://127.0.0.1:$port/v1/chat/completions" -H "Authorization: Bearer $key" \
  -d '{"model": "claude-sonnet-5-5", "messages": [{"role": "user", "content": "Hello"}]}')
grep -q "sandbox" <<<"$answer"
curl -fs "http://127.0.0.1:$port/admin/login/" | grep -q "Bridge"
curl -fs "http://127.0.0.1:$port/static/tenants/console.css" >/dev/null
echo "the image's steps serve: $(cut -c1-120 <<<"$answer")…"
