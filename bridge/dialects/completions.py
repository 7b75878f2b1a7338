"""Completions, OpenAI's API of 2021 → a chat of one turn: reading a request. Its answer is completions_answer.

Thin on purpose, for LlamaIndex's default and old tools: the prompt is what the user says. A chat model does not fill in
the middle of a text, so `suffix` is refused.
"""

from __future__ import annotations

from typing import Any

from bridge.dialects import chat, checks, reading
from bridge.dialects.params import Param, Verdict
from bridge.errors import ApiError
from bridge.receipt import Receipt

COMPLETIONS: dict[str, Param] = {
    param.name: param
    for param in (
        Param("model", Verdict.TRANSLATED, "The model's name at Anthropic."),
        Param("prompt", Verdict.TRANSLATED, "One text: what the user says."),
        Param("max_tokens", Verdict.ADAPTED, "Above the model's maximum: clamped. Default: that (OpenAI's is 16)."),
        Param("stop", Verdict.ADAPTED, "`stop_sequences`; those of white space only are dropped."),
        Param("temperature", Verdict.ADAPTED, "0…1 on models up to 4.6 (above 1: clamped); dropped on newer ones."),
        Param("top_p", Verdict.ADAPTED, "On models up to 4.6 and without temperature; else dropped."),
        Param("n", Verdict.EMULATED, "1…8: as many calls side by side, one record; input is used once per choice."),
        Param("stream", Verdict.TRANSLATED, "Server-sent events, ended by `[DONE]`."),
        Param("stream_options", Verdict.TRANSLATED, "`include_usage`: a last chunk with the usage."),
        Param("user", Verdict.TRANSLATED, "`metadata.user_id`, hashed."),
        Param("suffix", Verdict.REFUSED, "Claude does not fill in the middle of a text.", ("",)),
        Param("echo", Verdict.REFUSED, "The prompt is not repeated.", (False,)),
        Param("logprobs", Verdict.REFUSED, "Anthropic's API reports no log probabilities."),
        Param("best_of", Verdict.IGNORED, "No equivalent.", (1,)),
        Param("frequency_penalty", Verdict.IGNORED, "No equivalent.", (0,)),
        Param("presence_penalty", Verdict.IGNORED, "No equivalent.", (0,)),
        Param("logit_bias", Verdict.IGNORED, "No equivalent.", ({},)),
        Param("seed", Verdict.IGNORED, "No equivalent."),
    )
}
_CHATS = (Verdict.TRANSLATED, Verdict.ADAPTED, Verdict.EMULATED)


def read(body: Any, model: str | None = None) -> chat.Reading:
    """The request in the house language. `model` is the one in the URL, if any. Raises ApiError (400)."""
    receipt = Receipt()
    body = reading.present(body)
    reading.judge(body, COMPLETIONS, receipt)
    prompt = _prompt(body.get("prompt"))
    known = {name: body[name] for name, param in COMPLETIONS.items() if name in body and param.verdict in _CHATS}
    known.pop("prompt")
    return chat.read({**known, "messages": [{"role": "user", "content": prompt}]}, model, receipt)


def _prompt(given: Any) -> str:
    if given is None:
        raise checks.missing("prompt")
    if isinstance(given, list):
        if len(given) != 1 or not isinstance(given[0], str):
            text = "Unsupported value: 'prompt' is to be one text here, neither several nor tokens."
            raise ApiError("unsupported_value", text, "prompt")
        given = given[0]
    if not checks.a_string(given, "prompt").strip():
        raise ApiError("invalid_value", "Invalid 'prompt': it must not be empty.", "prompt")
    return str(given)
