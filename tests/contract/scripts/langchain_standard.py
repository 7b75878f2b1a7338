"""LangChain's standard tests of chat models, on ChatOpenAI with Bridge as its base URL. Run by pytest there."""

from __future__ import annotations

import base64
import os
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from langchain_core.language_models import BaseChatModel
from langchain_openai import ChatOpenAI
from langchain_tests.integration_tests import ChatModelIntegrationTests
from report import PDF_URL, PNG


class TestStandard(ChatModelIntegrationTests):
    @pytest.fixture(autouse=True)
    def _offline(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """The files that the tests would fetch from the web."""

        def get(url: str, **options: Any) -> Any:
            data = PDF_URL.partition(",")[2] if url.endswith(".pdf") else PNG
            return SimpleNamespace(content=base64.b64decode(data), raise_for_status=lambda: None)

        monkeypatch.setattr(httpx, "get", get)

    @property
    def chat_model_class(self) -> type[BaseChatModel]:
        return ChatOpenAI

    @property
    def chat_model_params(self) -> dict[str, Any]:
        return {
            "model": os.environ["BRIDGE_MODEL"],
            "base_url": os.environ["BRIDGE_BASE_URL"],
            "api_key": os.environ["BRIDGE_API_KEY"],
            "stream_usage": True,
            "max_retries": 0,
        }

    @property
    def supports_image_inputs(self) -> bool:
        return True

    @property
    def supports_image_urls(self) -> bool:
        return True

    @property
    def supports_pdf_inputs(self) -> bool:
        return True

    @property
    def supports_image_tool_message(self) -> bool:
        return True

    @property
    def supports_pdf_tool_message(self) -> bool:
        return True

    @property
    def supports_anthropic_inputs(self) -> bool:
        return True

    @property
    def supports_json_mode(self) -> bool:
        return True

    @property
    def supports_model_override(self) -> bool:
        return True

    @property
    def model_override_value(self) -> str:
        return "claude-opus-5-5"
