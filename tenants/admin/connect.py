"""How clients reach this site: its base URL, what answers them there, and snippets to paste."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from django.conf import settings
from django.http import HttpRequest

MODEL = "claude-sonnet-5-5"
PLACEHOLDER = "$BRIDGE_KEY"


def base_url(request: HttpRequest) -> str:
    """What clients set as `base_url`."""
    origin = settings.PUBLIC_URL or f"{request.scheme}://{request.get_host()}"
    return f"{origin}/v1"


@dataclass(frozen=True)
class Upstream:
    """What answers live keys, in words for the console and the landing page."""

    tone: str
    title: str
    text: str


def upstream() -> Upstream:
    if settings.UPSTREAM == "sandbox":
        return Upstream(
            "wait",
            "Sandbox",
            "A scripted Claude answers every key. Nothing leaves this site or costs money; "
            "costs of live keys are what Claude's would be.",
        )
    if not settings.ANTHROPIC_API_KEY:
        return Upstream(
            "bad", "No Anthropic key", "Test keys work. To serve live keys, set ANTHROPIC_API_KEY and restart."
        )
    host = urlsplit(settings.ANTHROPIC_BASE_URL).hostname or ""
    return Upstream("good", "Anthropic", f"Live keys are served by {host}, test keys by the sandbox.")


@dataclass(frozen=True)
class Snippet:
    name: str
    slug: str
    text: str


def snippets(base: str, key: str, model: str = MODEL) -> list[Snippet]:
    """A first request, whole and streamed, in three languages, and Claude Code."""
    fields = {"base": base, "site": base.removesuffix("/v1"), "key": key, "model": model}
    return [Snippet(name, slug, text.strip().format(**fields)) for name, slug, text in _SNIPPETS]


_SNIPPETS = (
    (
        "curl",
        "curl",
        """
curl {base}/chat/completions \\
  -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}",
       "messages": [{{"role": "user", "content": "Say hello."}}]}}'
""",
    ),
    (
        "curl, streamed",
        "stream",
        """
curl -N {base}/chat/completions \\
  -H "Authorization: Bearer {key}" \\
  -H "Content-Type: application/json" \\
  -d '{{"model": "{model}", "stream": true,
       "messages": [{{"role": "user", "content": "Say hello."}}]}}'
""",
    ),
    (
        "Python",
        "python",
        """
# pip install openai
from openai import OpenAI

client = OpenAI(base_url="{base}", api_key="{key}")
answer = client.chat.completions.create(
    model="{model}",
    messages=[{{"role": "user", "content": "Say hello."}}],
)
print(answer.choices[0].message.content)
""",
    ),
    (
        "JavaScript",
        "javascript",
        """
// npm install openai
import OpenAI from "openai";

const client = new OpenAI({{ baseURL: "{base}", apiKey: "{key}" }});
const answer = await client.chat.completions.create({{
  model: "{model}",
  messages: [{{ role: "user", content: "Say hello." }}],
}});
console.log(answer.choices[0].message.content);
""",
    ),
    (
        "Claude Code",
        "claude-code",
        """
export ANTHROPIC_BASE_URL="{site}"
export ANTHROPIC_AUTH_TOKEN="{key}"
export ANTHROPIC_MODEL="{model}"
claude -p "Say hello."
""",
    ),
)
