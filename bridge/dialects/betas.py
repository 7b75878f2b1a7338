"""Which beta features of Anthropic's API a client may ask for (`anthropic-beta`).

On the chat endpoint they go with Anthropic's own parameters, as far as those are taken there.

A virtual key shares one upstream account with every other key, and its limits hold only for what the meter sees. So a
beta passes if all that it does stays inside the request and is counted in the answer's usage. Anything else is refused
by name, as the API refuses a name it does not know: the request body that goes with it would fail there anyway.
(docs/decisions/0006-native-messages.md; names: anthropic-sdk-python `types/anthropic_beta_param.py`)
"""

from __future__ import annotations

from bridge.errors import ApiError
from bridge.receipt import Receipt

# A family (its names end in a date) and what it does within the request.
PASSED: tuple[tuple[str, str], ...] = (
    ("cache-diagnosis-", "says why a prompt missed the cache"),
    ("claude-code-", "sent by Claude Code with every request"),
    ("computer-use-", "a tool that the client runs"),
    ("context-1m-", "a longer window, counted as input"),
    ("context-management-", "clears old turns out of this prompt"),
    ("dev-full-thinking-", "shows thinking"),
    ("effort-", "the `effort` setting, from before it was general"),
    ("extended-cache-ttl-", "one-hour caching, counted apart"),
    ("fine-grained-tool-streaming-", "tool input as it comes"),
    ("inline-tools-", "tools defined within a turn"),
    ("interleaved-thinking-", "thinking between tool calls"),
    ("mid-conversation-", "tools, settings and system turns that change on the way"),
    ("model-context-window-exceeded-", "a stop reason"),
    ("output-128k-", "a longer answer"),
    ("pdfs-", "documents, from before they were general"),
    ("prompt-caching-", "caching, from before it was general, and its scope"),
    ("structured-outputs-", "answers of a given form, from before they were general"),
    ("task-budgets-", "tells the model what it may spend"),
    ("thinking-", "how thinking is shown, counted and bound"),
    ("token-counting-", "counting, from before it was general"),
    ("token-efficient-tools-", "a shorter wire form of calls"),
    ("tool-search-tool-", "finds tools among those of the request"),
    ("advanced-tool-use-", "tool search, examples and calls by programs"),
)
# The best known of the others, with the reason: every name that is in neither table is refused too.
REFUSED: tuple[tuple[str, str], ...] = (
    ("server-side-fallback-", "another model may answer, whatever the key's allow-list says"),
    ("fallback-credit-", "goes with server-side fallback"),
    ("compact-", "its tokens are not in the counts that limits and records are made from"),
    ("advisor-tool-", "its tokens are not in the counts that limits and records are made from"),
    ("fast-mode-", "costs a multiple of the listed price"),
    ("files-api-", "files belong to the account that all keys share"),
    ("skills-", "skills belong to the account that all keys share"),
    ("message-threads-", "threads belong to the account that all keys share"),
    ("agent-memory-", "memory belongs to the account that all keys share"),
    ("user-profiles-", "profiles belong to the account that all keys share"),
    ("mcp-", "calls servers in the name of the account that all keys share"),
)


def read(header: str) -> str:
    """The `anthropic-beta` to send. Raises ApiError (400) for a name that does not pass."""
    names = _names(header)
    for name in names:
        if not name.startswith(_FAMILIES):
            reasons = [reason for family, reason in REFUSED if name.startswith(family)]
            shown = name[:100].encode("ascii", "replace").decode()
            text = f"Unexpected value(s) `{shown}` for the `anthropic-beta` header."
            text += f" This gateway does not pass it on: {reasons[0]}." if reasons else ""
            raise ApiError("bad_header", text, "anthropic-beta")
    return ",".join(names)


def passing(header: str, receipt: Receipt) -> list[str]:
    """For chat, where the parameters that go with the others are ignored too: the names that pass; each of the others
    is on the receipt."""
    names = _names(header)
    for name in names:
        if not name.startswith(_FAMILIES):
            receipt.add(f"anthropic-beta.{name}", "ignored")
    return [name for name in names if name.startswith(_FAMILIES)]


def _names(header: str) -> list[str]:
    return list(dict.fromkeys(name.strip() for name in header.split(",") if name.strip()))


_FAMILIES = tuple(family for family, _ in PASSED)
