"""The Responses API's request parameters, each with its verdict: as params.py has chat's."""

from __future__ import annotations

from bridge.dialects.params import Param, Verdict

RESPONSES: dict[str, Param] = {
    param.name: param
    for param in (
        Param("model", Verdict.TRANSLATED, "The model's name at Anthropic."),
        Param("input", Verdict.TRANSLATED, "A text or items: messages, calls and their outputs, reasoning; see below."),
        Param("instructions", Verdict.TRANSLATED, "The system prompt's beginning."),
        Param("max_output_tokens", Verdict.ADAPTED, "`max_tokens`; above the model's maximum: clamped. Default: that."),
        Param("tools", Verdict.TRANSLATED, "Functions, custom tools, namespaces, web search; see below."),
        Param("tool_choice", Verdict.TRANSLATED, "All forms; forced calls are emulated on models that refuse them."),
        Param("parallel_tool_calls", Verdict.TRANSLATED, "`disable_parallel_tool_use`."),
        Param("max_tool_calls", Verdict.ADAPTED, "The most web searches."),
        Param(
            "text", Verdict.TRANSLATED, "`format`: json_schema natively, json_object by instruction; not `verbosity`."
        ),
        Param(
            "reasoning",
            Verdict.ADAPTED,
            "`effort`, as far as the model has it; a `summary` shows the thinking.",
        ),
        Param(
            "include",
            Verdict.TRANSLATED,
            "`reasoning.encrypted_content` (always there), `web_search_call.action.sources`.",
        ),
        Param("stream", Verdict.TRANSLATED, "Server-sent events, each with its `sequence_number`."),
        Param("stream_options", Verdict.IGNORED, "Nothing is padded.", ({"include_obfuscation": False},)),
        Param("temperature", Verdict.ADAPTED, "0…1 on models up to 4.6 (above 1: clamped); dropped on newer ones."),
        Param("top_p", Verdict.ADAPTED, "On models up to 4.6 and without temperature; else dropped."),
        Param("stop", Verdict.ADAPTED, "`stop_sequences`; those of white space only are dropped."),
        Param("metadata", Verdict.TRANSLATED, "Repeated in the answer; not passed on."),
        Param("store", Verdict.IGNORED, "Bridge stores no responses; the answer says `store: false`.", (False,)),
        Param(
            "previous_response_id",
            Verdict.ADAPTED,
            "Over a WebSocket: its newest response. Else a 400: Bridge stores none; send the conversation in `input`.",
        ),
        Param(
            "conversation", Verdict.REFUSED, "Bridge stores no conversations: send the whole conversation in `input`."
        ),
        Param(
            "background",
            Verdict.REFUSED,
            "An answer is told to the request that asked for it.",
            (False,),
        ),
        Param("prompt", Verdict.REFUSED, "Prompts are stored at OpenAI; send `instructions` and `input`."),
        Param("generate", Verdict.REFUSED, "Nothing can be prepared without an answer.", (True,)),
        Param("stream_id", Verdict.REFUSED, "A connection answers one request at a time; open another."),
        Param("top_logprobs", Verdict.REFUSED, "Anthropic's API reports no log probabilities.", (0,)),
        Param("truncation", Verdict.IGNORED, "A conversation that is too long is an error.", ("disabled",)),
        Param("service_tier", Verdict.ADAPTED, "`auto`, `default`, `priority`; others are ignored."),
        Param("safety_identifier", Verdict.TRANSLATED, "`metadata.user_id`, hashed."),
        Param("user", Verdict.TRANSLATED, "`metadata.user_id`, hashed; `safety_identifier` wins."),
        Param("prompt_cache_key", Verdict.IGNORED, "Not passed on."),
        Param("prompt_cache_options", Verdict.IGNORED, "Not passed on."),
        Param("prompt_cache_retention", Verdict.IGNORED, "Not passed on."),
        Param("context_management", Verdict.IGNORED, "No equivalent."),
        Param("moderation", Verdict.IGNORED, "No equivalent."),
        Param("thinking", Verdict.TRANSLATED, "Anthropic's own parameter, made fit for the model."),
        Param("top_k", Verdict.ADAPTED, "On models up to 4.6; else dropped."),
        Param("cache_control", Verdict.TRANSLATED, "Anthropic's automatic caching; also on parts and tools."),
    )
}
