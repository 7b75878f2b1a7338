"""Content parts become blocks: text, images, files, cache breakpoints, and the shapes of other APIs."""

from __future__ import annotations

import base64
from typing import Any

import pytest

from tests.chat import USER, calls, read, refusal, result, turns

PLACE = "messages[0].content[0]"
PNG = base64.b64encode(b"\x89PNG\r\n\x1a\n" + bytes(30)).decode()
HEADS = {
    "image/png": PNG,
    "image/jpeg": base64.b64encode(b"\xff\xd8\xff\xe0" + bytes(30)).decode(),
    "image/gif": base64.b64encode(b"GIF89a" + bytes(30)).decode(),
    "image/webp": base64.b64encode(b"RIFF\x00\x00\x00\x00WEBP" + bytes(30)).decode(),
}
PDF = base64.b64encode(b"%PDF-1.7").decode()
EPHEMERAL = {"type": "ephemeral"}


def user(*parts: Any) -> dict[str, Any]:
    return {"role": "user", "content": list(parts)}


def blocks(*parts: Any) -> Any:
    return turns(user(*parts))[0]["content"]


def image(url: Any, **more: Any) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def file(**fields: Any) -> dict[str, Any]:
    return {"type": "file", "file": fields}


# --- refused ---


@pytest.mark.parametrize(
    ("part", "code", "place"),
    [
        ("Hi", "invalid_type", ""),
        ({"text": "Hi"}, "missing_required_parameter", ".type"),
        ({"type": 5}, "invalid_type", ".type"),
        ({"type": "video"}, "invalid_value", ".type"),
        ({"type": "text"}, "missing_required_parameter", ".text"),
        ({"type": "text", "text": 5}, "invalid_type", ".text"),
        ({"type": "refusal"}, "missing_required_parameter", ".refusal"),
        ({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}}, "unsupported_value", ""),
        ({"type": "image_url"}, "missing_required_parameter", ".image_url"),
        ({"type": "image_url", "image_url": {}}, "missing_required_parameter", ".image_url.url"),
        ({"type": "image_url", "image_url": 5}, "invalid_type", ".image_url"),
        (image(5), "invalid_type", ".image_url.url"),
        (image("ftp://example.com/a.png"), "invalid_image_url", ".image_url.url"),
        (image("file:///etc/passwd"), "invalid_image_url", ".image_url.url"),
        (image(f"data:image/png,{PNG}"), "invalid_image_url", ".image_url.url"),
        (image("data:image/png;base64,"), "invalid_image_url", ".image_url.url"),
        (image("data:image/bmp;base64,AAAA"), "invalid_image_url", ".image_url.url"),
        (image(f"data:application/pdf;base64,{PDF}"), "invalid_image_url", ".image_url.url"),
        ({"type": "input_image", "file_id": "file-abc"}, "unsupported_value", ".file_id"),
        ({"type": "file"}, "invalid_type", ".file"),
        (file(), "missing_required_parameter", ".file.file_data"),
        (file(file_id="file-abc"), "unsupported_value", ".file.file_id"),
        (file(file_id=5), "invalid_type", ".file.file_id"),
        (file(file_data="data:application/zip;base64,AAAA"), "invalid_value", ".file.file_data"),
        (file(file_data="data:text/plain;base64,/w=="), "invalid_value", ".file.file_data"),
        ({"type": "image"}, "missing_required_parameter", ".source"),
        ({"type": "tool_result"}, "missing_required_parameter", ".tool_use_id"),
    ],
)
def test_a_part_that_cannot_be_represented_is_a_400_with_its_place(part: Any, code: str, place: str) -> None:
    assert refusal(user(part)) == (code, PLACE + place)


@pytest.mark.parametrize("role", ["system", "developer", "assistant"])
@pytest.mark.parametrize("part", [image("https://example.com/a.png"), file(file_id="file_1")])
def test_what_only_a_user_may_show_is_a_400_elsewhere(role: str, part: Any) -> None:
    assert refusal({"role": role, "content": [part]}) == ("invalid_value", PLACE + ".type")


USE = {"type": "tool_use", "id": "a", "name": "f", "input": {}}
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "s"}
SOURCED = {"type": "image", "source": {"type": "url", "url": "https://example.com/a.png"}}
FOUND = {"type": "search_result", "source": "s", "title": "t", "content": [{"type": "text", "text": "x"}]}
TOLD = {"type": "tool_result", "tool_use_id": "a"}


@pytest.mark.parametrize(
    ("role", "part"),
    [
        *(("user", part) for part in (USE, THOUGHT)),
        *(("system", part) for part in (USE, THOUGHT, TOLD, SOURCED, FOUND)),
        *(("assistant", part) for part in (TOLD, SOURCED, FOUND)),
        *(("tool", part) for part in (USE, THOUGHT, TOLD)),
    ],
)
def test_a_block_in_a_message_that_cannot_hold_it_is_a_400(role: str, part: Any) -> None:
    more = {"tool_call_id": "a"} if role == "tool" else {}
    assert refusal({"role": role, "content": [part], **more}) == ("invalid_value", PLACE + ".type")


@pytest.mark.parametrize(
    ("role", "part", "code", "place"),
    [
        ("user", {"type": "image", "source": 5}, "invalid_type", ".source"),
        ("user", {"type": "image", "source": {}}, "invalid_value", ".source.type"),
        ("user", {"type": "document", "source": {"type": "ftp"}}, "invalid_value", ".source.type"),
        ("user", {**TOLD, "tool_use_id": 5}, "invalid_type", ".tool_use_id"),
        ("user", {**TOLD, "content": 5}, "invalid_type", ".content"),
        ("user", {**TOLD, "content": [TOLD]}, "invalid_value", ".content[0].type"),
        ("user", {**FOUND, "source": None}, "missing_required_parameter", ".source"),
        ("user", {**FOUND, "content": [SOURCED]}, "invalid_value", ".content[0].type"),
        ("assistant", {**USE, "id": None}, "missing_required_parameter", ".id"),
        ("assistant", {**USE, "name": 5}, "invalid_type", ".name"),
        ("assistant", {"type": "tool_use", "id": "a", "name": "f"}, "missing_required_parameter", ".input"),
        ("assistant", {"type": "thinking", "thinking": "Hm."}, "missing_required_parameter", ".signature"),
        ("assistant", {**THOUGHT, "thinking": 5}, "missing_required_parameter", ".signature"),
        ("assistant", {"type": "redacted_thinking"}, "missing_required_parameter", ".data"),
    ],
)
def test_a_block_of_anthropics_that_is_not_sound_is_a_400(role: str, part: Any, code: str, place: str) -> None:
    assert refusal({"role": role, "content": [part]}) == (code, PLACE + place)


def test_sound_blocks_of_anthropics_are_passed_on() -> None:
    assert blocks(SOURCED, FOUND) == [SOURCED, FOUND]
    answer = turns(USER, {"role": "assistant", "content": [THOUGHT, {**USE, "input": "{bad"}]})[1]["content"]
    assert answer == [THOUGHT, {**USE, "input": {"arguments": "{bad"}}]


@pytest.mark.parametrize("content", [5, {"type": "text", "text": "Hi"}, True])
def test_content_is_text_or_parts(content: Any) -> None:
    assert refusal({"role": "user", "content": content}) == ("invalid_type", "messages[0].content")


# --- text ---


def test_text_parts_of_every_spelling_are_text() -> None:
    parts = [{"type": kind, "text": kind} for kind in ("text", "input_text", "output_text")]
    assert blocks(*parts) == [{"type": "text", "text": kind} for kind in ("text", "input_text", "output_text")]


def test_text_of_white_space_is_left_out_and_the_rest_stays() -> None:
    assert blocks({"type": "text", "text": "\n"}, {"type": "text", "text": " a "}) == [{"type": "text", "text": " a "}]


# --- images ---


@pytest.mark.parametrize("url", ["https://example.com/a.png", "http://example.com/a.png", " HTTPS://EXAMPLE.com/a "])
def test_an_images_address_goes_upstream_as_it_is(url: str) -> None:
    assert blocks(image(url)) == [{"type": "image", "source": {"type": "url", "url": url.strip()}}]


@pytest.mark.parametrize("kind", HEADS)
def test_a_data_url_is_sent_as_base64(kind: str) -> None:
    source = {"type": "base64", "media_type": kind, "data": HEADS[kind]}
    assert blocks(image(f"data:{kind};base64,{HEADS[kind]}")) == [{"type": "image", "source": source}]


@pytest.mark.parametrize("label", ["image/jpeg", "image/jpg", "application/octet-stream", "", "IMAGE/PNG"])
def test_a_wrong_label_is_put_right_by_what_the_image_is(label: str) -> None:
    assert blocks(image(f"data:{label};base64,{PNG}"))[0]["source"]["media_type"] == "image/png"


def test_the_usual_wrong_name_of_jpeg_is_put_right_even_where_nothing_can_be_seen() -> None:
    assert blocks(image("data:image/jpg;base64,AAAA"))[0]["source"]["media_type"] == "image/jpeg"


def test_parameters_and_line_breaks_of_a_data_url_are_taken_out() -> None:
    url = f"data:image/png;charset=utf-8;base64,{PNG[:20]}\r\n{PNG[20:]}"
    assert blocks(image(url))[0]["source"]["data"] == PNG


def test_an_image_in_the_shapes_of_other_apis() -> None:
    url = "https://example.com/a.png"
    expected = [{"type": "image", "source": {"type": "url", "url": url}}]
    assert blocks({"type": "image_url", "image_url": url}) == expected
    assert blocks({"type": "input_image", "image_url": url, "detail": "auto"}) == expected
    assert blocks({"type": "image", "source": {"type": "url", "url": url}}) == expected
    assert blocks({"type": "input_image", "file_id": "file_1"})[0]["source"] == {"type": "file", "file_id": "file_1"}


@pytest.mark.parametrize(("detail", "receipt"), [("auto", ""), ("low", "image_url.detail=ignored")])
def test_the_detail_of_an_image_has_no_equivalent(detail: str, receipt: str) -> None:
    assert str(read(user(image("https://example.com/a.png", detail=detail))).receipt) == receipt
    flat = {"type": "input_image", "image_url": "https://example.com/a.png", "detail": detail}
    assert str(read(user(flat)).receipt) == receipt


# --- files ---


def test_a_pdf_is_a_document_with_its_name_as_title() -> None:
    source = {"type": "base64", "media_type": "application/pdf", "data": PDF}
    data = f"data:application/pdf;base64,{PDF}"
    expected = [{"type": "document", "source": source, "title": "a.pdf"}]
    assert blocks(file(file_data=data, filename="a.pdf")) == expected
    assert blocks({"type": "input_file", "file_data": data, "filename": "a.pdf"}) == expected


@pytest.mark.parametrize("kind", ["text/plain", "text/markdown", "text/csv", "application/json"])
def test_a_text_file_is_a_document_of_its_text(kind: str) -> None:
    data = base64.b64encode("naïve".encode()).decode()
    source = {"type": "text", "media_type": "text/plain", "data": "naïve"}
    assert blocks(file(file_data=f"data:{kind};base64,{data}")) == [{"type": "document", "source": source}]


def test_files_by_reference() -> None:
    assert blocks(file(file_id="file_1")) == [{"type": "document", "source": {"type": "file", "file_id": "file_1"}}]
    url = "https://example.com/a.pdf"
    assert blocks({"type": "input_file", "file_url": url}) == [
        {"type": "document", "source": {"type": "url", "url": url}}
    ]


# --- cache breakpoints ---


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ({"cache_control": {"type": "ephemeral"}}, EPHEMERAL),
        ({"cache_control": {"type": "ephemeral", "ttl": "1h"}}, {**EPHEMERAL, "ttl": "1h"}),
        ({"cache_control": {"type": "ephemeral", "ttl": "7d"}}, EPHEMERAL),
        ({"prompt_cache_breakpoint": {"mode": "explicit"}}, EPHEMERAL),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "30m"}}, EPHEMERAL),
        ({"prompt_cache_breakpoint": {"mode": "explicit", "ttl": "12h"}}, {**EPHEMERAL, "ttl": "1h"}),
        ({"cache_control": "yes"}, None),
        ({"cache_control": None}, None),
    ],
)
def test_a_breakpoint_in_either_spelling(given: dict[str, Any], sent: Any) -> None:
    text = {"type": "text", "text": "a"}
    marked = [{**text, "cache_control": sent} if sent else text]
    assert blocks({**text, **given}) == marked  # on a part
    reading = read({"role": "user", "content": "a", **given})  # on a message
    assert reading.request["messages"][0]["content"] == marked and not reading.receipt


def test_a_breakpoint_of_a_message_is_one_on_its_last_block() -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    found = turns({"role": "user", "content": parts, "cache_control": EPHEMERAL})[0]["content"]
    assert [block.get("cache_control") for block in found] == [None, EPHEMERAL]


def test_a_breakpoint_on_a_call() -> None:
    answer = turns(USER, calls(("a", "f", "{}"), cache_control=EPHEMERAL), result("a"))[1]
    assert answer["content"][-1]["cache_control"] == EPHEMERAL


def test_one_on_a_result_is_on_the_result_itself() -> None:
    for content in ("done", ""):
        (told,) = turns(USER, calls(("a", "f", "{}")), {**result("a", content), "cache_control": EPHEMERAL})[2][
            "content"
        ]
        assert told["cache_control"] == EPHEMERAL
        assert all("cache_control" not in inner for inner in told.get("content", []))


def test_thinking_carries_no_breakpoint_of_its_message_either() -> None:
    found = turns(USER, {"role": "assistant", "content": [THOUGHT], "cache_control": EPHEMERAL}, USER)
    assert found[1]["content"] == [THOUGHT]


def test_thinking_carries_no_breakpoint() -> None:
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "s", "cache_control": EPHEMERAL}
    text = {"type": "text", "text": "So."}
    found = turns(USER, {"role": "assistant", "content": [thought, text]}, USER)
    assert "cache_control" not in found[1]["content"][0]
