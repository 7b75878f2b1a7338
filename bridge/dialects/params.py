"""Chat Completions' request parameters, each with its verdict: reader, receipt and docs follow this one table."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Verdict(StrEnum):
    TRANSLATED = "translated"  # means the same upstream
    EMULATED = "emulated"  # done in another way; the receipt says so
    ADAPTED = "adapted"  # honoured as far as the model allows; the receipt says what changed
    IGNORED = "ignored"  # a hint without an equivalent: ignored, named on the receipt
    REFUSED = "refused"  # its loss would change what the caller gets: a clear 400
    NOT_YET = "not yet"  # refused for now; on the way


@dataclass(frozen=True, slots=True)
class Param:
    """`harmless`: values that mean nothing (defaults), accepted in silence whatever the verdict. null always is.
    `kind`: the error of a refusal."""

    name: str
    verdict: Verdict
    note: str
    harmless: tuple[Any, ...] = ()
    kind: str = "unsupported_parameter"


PARAMS: dict[str, Param] = {
    param.name: param
    for param in (
        Param("model", Verdict.TRANSLATED, "The model's name at Anthropic."),
        Param("messages", Verdict.TRANSLATED, "All roles; text, images, files; tool calls and their results."),
        Param("max_completion_tokens", Verdict.ADAPTED, "`max_tokens`; above the model's maximum: clamped."),
        Param("max_tokens", Verdict.ADAPTED, "The same; `max_completion_tokens` wins. Default: the model's maximum."),
        Param("stop", Verdict.ADAPTED, "`stop_sequences`; those of white space only are dropped."),
        Param("temperature", Verdict.ADAPTED, "0…1 on models up to 4.6 (above 1: clamped); dropped on newer ones."),
        Param("top_p", Verdict.ADAPTED, "On models up to 4.6 and without temperature; else dropped."),
        Param("stream", Verdict.TRANSLATED, "Server-sent events, ended by `[DONE]`."),
        Param("stream_options", Verdict.TRANSLATED, "`include_usage`: a last chunk with the usage."),
        Param("n", Verdict.EMULATED, "1…8: as many calls side by side, one record; input is used once per choice."),
        Param(
            "tools",
            Verdict.TRANSLATED,
            "Functions, strict ones where the schema allows it; free-text (custom) tools emulated.",
        ),
        Param("tool_choice", Verdict.TRANSLATED, "All forms; forced calls are emulated on models that refuse them."),
        Param("parallel_tool_calls", Verdict.TRANSLATED, "`disable_parallel_tool_use`."),
        Param("functions", Verdict.TRANSLATED, "As tools; answered as `function_call`."),
        Param("function_call", Verdict.TRANSLATED, "As `tool_choice`."),
        Param(
            "response_format",
            Verdict.TRANSLATED,
            "json_schema natively; json_object by instruction, cut out of what is said around it.",
        ),
        Param("reasoning_effort", Verdict.ADAPTED, "Thinking and effort, by what the model offers."),
        Param("web_search_options", Verdict.TRANSLATED, "Anthropic's web search; sources as `url_citation`."),
        Param("audio", Verdict.REFUSED, "Claude neither hears nor speaks."),
        Param("modalities", Verdict.REFUSED, "Only text.", (["text"],)),
        Param("logprobs", Verdict.REFUSED, "Anthropic's API reports no log probabilities.", (False,)),
        Param("top_logprobs", Verdict.REFUSED, "Anthropic's API reports no log probabilities.", (0,)),
        Param("frequency_penalty", Verdict.IGNORED, "No equivalent.", (0,)),
        Param("presence_penalty", Verdict.IGNORED, "No equivalent.", (0,)),
        Param("logit_bias", Verdict.IGNORED, "No equivalent.", ({},)),
        Param("seed", Verdict.IGNORED, "No equivalent."),
        Param("prediction", Verdict.IGNORED, "No equivalent."),
        Param("verbosity", Verdict.IGNORED, "Not passed on.", ("medium",)),
        Param("moderation", Verdict.IGNORED, "No equivalent."),
        Param("store", Verdict.IGNORED, "Bridge stores no completions.", (False,)),
        Param("metadata", Verdict.IGNORED, "Not passed on.", ({},)),
        Param("service_tier", Verdict.ADAPTED, "`auto`, `default`, `priority`; others are ignored."),
        Param("prompt_cache_key", Verdict.IGNORED, "Not passed on."),
        Param("prompt_cache_options", Verdict.IGNORED, "Not passed on."),
        Param("prompt_cache_retention", Verdict.IGNORED, "Not passed on."),
        Param("safety_identifier", Verdict.TRANSLATED, "`metadata.user_id`, hashed."),
        Param("reasoning", Verdict.ADAPTED, "`{effort, max_tokens, enabled}`, as some gateways have it."),
        Param("thinking", Verdict.TRANSLATED, "Anthropic's own parameter, made fit for the model."),
        Param(
            "output_config",
            Verdict.ADAPTED,
            "Anthropic's own `effort` and `format`; `reasoning_effort` and `response_format` win.",
        ),
        Param("context_management", Verdict.TRANSLATED, "Anthropic's own: clears old tool results and thinking."),
        Param("top_k", Verdict.ADAPTED, "On models up to 4.6; else dropped."),
        Param("cache_control", Verdict.TRANSLATED, "Anthropic's automatic caching; also on messages, parts and tools."),
        Param("user", Verdict.TRANSLATED, "`metadata.user_id`, hashed; `safety_identifier` wins."),
    )
}
