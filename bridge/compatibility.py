"""The page that says what becomes of every request parameter: written from the tables that the readers follow.

`python -m bridge.compatibility` prints it; a test compares it with docs/compatibility.md.
"""

from __future__ import annotations

from bridge.dialects.completions import COMPLETIONS
from bridge.dialects.params import PARAMS, Param, Verdict
from bridge.dialects.responses_params import RESPONSES

_MEANINGS = {
    Verdict.TRANSLATED: "means the same upstream",
    Verdict.ADAPTED: "honoured as far as the model allows; the receipt says what changed",
    Verdict.EMULATED: "done in another way; the receipt says so",
    Verdict.IGNORED: "a hint without an equivalent: ignored, and named on the receipt",
    Verdict.REFUSED: "its loss would change what the caller gets: a 400 that says so",
    Verdict.NOT_YET: "refused with a 400 for now",
}

_HEAD = """# Compatibility

Made from `bridge/dialects/params.py` and its neighbours, the tables that the readers follow, by `python -m bridge.compatibility`.

Nothing is dropped in silence. What was adapted, emulated or ignored is named in the answer's `x-bridge-compat` header and on
its record, e.g. `x-bridge-compat: temperature=dropped, seed=ignored`. A key in *strict* mode gets a 400 instead of an answer
from which something was dropped or ignored. `null` means absent for every parameter.
"""

_CHAT = """
### Messages

| what | becomes |
|---|---|
| leading `system` and `developer` messages | the system prompt, part by part |
| later ones | a system turn where the model reads it, else a marked note in the user's turn at the same place (`messages.system=inlined`); never moved to the front |
| text, `image_url` (https and data URLs), `file` (PDF and text, by data URL) | the same; a wrong image type is put right by its first bytes; nothing is fetched by Bridge |
| audio | 400 |
| a file by its id | 400 where tenants share the upstream account, as they do unless a tenant has a credential of its own |
| `tool_calls` and `tool` messages | `tool_use` and `tool_result`: results right after their calls and first in the turn, whatever the order in the history |
| a call without a result, a result without a call, broken argument JSON, ids and names that the API does not take | repaired (`messages.tool=…`, `tool_calls.arguments=repaired`); names and ids are turned back in the answer |
| empty text | left out (`messages.empty=dropped`) |
| an assistant message at the end | a prefill on models that take one, else continued (`messages.prefill=emulated`) |
| `thinking_blocks` of an earlier answer | sent back unchanged, signature and all |
| a turn with calls and without its thinking | where the tenant keeps it ([thinking](thinking.md)): its thinking is put back (`thinking=restored`), unless something before it changed |
| `cache_control`, `prompt_cache_breakpoint` | cache breakpoints, the last four of them; an hour after five minutes becomes five minutes (`cache_control=shortened(5m)`) |

The header `anthropic-beta` goes with Anthropic's own parameters: what stays inside the request passes, the rest is ignored
(`anthropic-beta.NAME=ignored`).

Bodies and parts in the shape of the Responses API or of Anthropic's are understood on this URL too.

### Answers

`finish_reason`: `stop` (end_turn, stop_sequence), `length` (max_tokens, context window), `tool_calls`, `content_filter`
(refusal, with `message.refusal`). `usage`: `prompt_tokens` counts all input, cached or not; `cached_tokens`,
`cache_write_tokens`, `reasoning_tokens`, and the cache counts once more at the top, where many clients read them. Beside
OpenAI's fields: `reasoning_content` (text of the thinking, where the model shows it) and `thinking_blocks` (signed). A call
without arguments has the arguments `"{}"`. Web sources are `annotations` of type `url_citation`. A forced tool call on a
model that refuses to be forced is made by giving the answer the form of its arguments (`tool_choice=emulated`).
"""


_RESPONSES = """
### Input

| what | becomes |
|---|---|
| a text, messages of every role (with or without `type`), `input_text`, `input_image`, `input_file`, `output_text`, `refusal` | as in chat completions |
| `function_call`, `custom_tool_call` and their `_output` items (texts, images, files) | `tool_use` and `tool_result`, repaired as in chat completions |
| `reasoning` with the `encrypted_content` of an earlier answer of Bridge's | the signed thinking, unchanged; another's, or a summary alone, is left out (`input.reasoning=dropped`) |
| `additional_tools`, `tool_search_output` | their tools, beside those of `tools` |
| `item_reference` | to thinking or to words before a call: left out (`input.item_reference=dropped`); to an answer: a 400, for Bridge stores none |
| `compaction` from `responses/compact` here | its summary; another's is left out (`input.compaction=dropped`) |
| items of OpenAI's own tools, unknown ones | left out (`input.NAME=dropped`) |

### Tools

| what | becomes |
|---|---|
| `function` | a tool; `strict` where the schema allows it |
| `custom` | a tool with one text, its grammar told in words; called as `custom_tool_call`, the text streamed as it comes |
| `namespace` | each of its tools as `NAMESPACE__NAME`, and called by its name and namespace |
| `web_search`, `web_search_preview` | Anthropic's web search, with `allowed_domains`, `user_location` and at most `max_tool_calls` searches; told as `web_search_call`, sources as `url_citation` |
| everything else that OpenAI runs itself, and unknown types | left out (`tools.NAME=dropped`) |

### Answers

Items in the order in which they came: `reasoning` (a summary if one was asked for, and always `encrypted_content`: the signed
thinking, sealed for this tenant), `message`, `function_call`, `custom_tool_call`, `web_search_call`. `status` is `incomplete` with
`max_output_tokens` (max_tokens, context window) or `content_filter` (refusal, which is also a `refusal` part), else `completed`.
A stream that breaks ends with an `error` event and `response.failed`, never with `response.completed`; long silences are filled with
`response.in_progress`. Nothing is stored: `store` is `false` in every answer, and there is nothing to `GET`.

### WebSocket mode

A WebSocket at the same address (`wss://…/v1/responses`, the key in the handshake's headers) takes `response.create` messages,
each a request as above, and tells each answer's events as text. One is answered at a time; up to 16 wait, of 32 MB together.

* `previous_response_id` goes on from the newest response of the connection, which is kept in memory until it ends, up to 32 MB.
  Any other, and one that a failed request has named, is `previous_response_not_found`: send the whole conversation. An output
  whose call is not in the conversation is a 400 there.
* A refusal is an event, `{"type": "error", "status": …, "error": {…}}`, with the `headers` that HTTP would have
  (`x-request-id`, `retry-after`, limits); the first event of an answer has them too, `x-bridge-compat` among them. An answer that breaks
  ends with `response.failed` alone.
* `stream`, `stream_options` and `Idempotency-Key` have no meaning there; `generate: false` and `stream_id` (several answers at a
  time) are a 400.
* A connection ends after 60 minutes (`websocket_connection_limit_reached`), after 10 without a message (1000), when its key
  is not accepted any more (1008), when more waits than may (1008), and when the gateway restarts (1012, after the answer).

### Compaction

`POST /v1/responses/compact` has the model summarise the conversation, a request like any other in limits, price and record. The
answer has the user's messages as they were and one `compaction` item, whose `encrypted_content` is the summary, sealed for the tenant:
send both instead of what they stand for. Claude's summary is text, no hidden state: what it left out is gone. A summary of more
than 16,384 tokens, or a refusal, is a 502 (`compaction_failed`), and costs what it cost. Of its parameters `model`, `input`,
`instructions` and `tools` matter; `previous_response_id` is a 400. `context_management` does not compact on its own.
"""


def _table(params: dict[str, Param]) -> str:
    rows = "\n".join(f"| `{param.name}` | {param.verdict} | {param.note} |" for param in params.values())
    unknown = "| anything else | ignored | Unknown parameters are named on the receipt. |"
    return f"### Parameters\n\n| parameter | verdict | |\n|---|---|---|\n{rows}\n{unknown}\n"


def page() -> str:
    verdicts = "\n".join(f"* **{verdict}**: {meaning}" for verdict, meaning in _MEANINGS.items())
    chat = f"## Chat completions\n\n{_table(PARAMS)}{_CHAT}"
    responses = f"## Responses\n\n{_table(RESPONSES)}{_RESPONSES}"
    completions = f"## Completions\n\n{_table(COMPLETIONS)}"
    return f"{_HEAD}\n{verdicts}\n\n{chat}\n{responses}\n{completions}"


if __name__ == "__main__":
    print(page(), end="")
