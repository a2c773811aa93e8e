"""A planner behind an OpenAI-compatible chat service.

Address and key come from the environment, never from a parameter file: ``SRCLI_PLANNER_URL`` is the base of the service
("https://HOST/v1"), ``SRCLI_PLANNER_KEY`` what it asks for, if anything. The first view with a number on each thing goes there;
the reply has to be JSON of a fixed form, and is asked for once more when it is not.
"""

from __future__ import annotations

import base64
import io
import json
import logging
import os
import urllib.error
import urllib.request
from http.client import HTTPException
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from srcli.errors import ConfigError, MissingAssetError, SceneError
from srcli.methods.grounding.planner import GRID, Plan, Situation, marked
from srcli.methods.grounding.section import ServiceConfig

URL, KEY = "SRCLI_PLANNER_URL", "SRCLI_PLANNER_KEY"

_log = logging.getLogger(__name__)
_MOST = 1 << 20
"""Bytes of a reply that are read."""
_ECHOED = 2000
"""Characters of a wrong reply that are sent back with the second question."""
_TOLD_EVERY = 10
"""Calls after which the cost so far is told again."""

_SYSTEM = (
    "You plan for a robot arm that takes one thing at a time from a pile on a table. The picture shows the table from above, "
    "with a number on each thing. Answer with JSON only."
)
_TASK = (
    "The request: {request}\n"
    "Numbers in the picture: 1 to {count}.\n"
    "If a thing that fits the request can be seen, set visible to true and take to its number. If it is hidden, set visible to "
    "false and take to the number of the thing to remove first, so that what was asked for comes to light. "
    "Lay a grid of three by three cells over that thing, numbered 1 to 9 row by row from its upper left in the picture, and set "
    "cell to the one where a two-finger gripper holds it best."
)


class Reply(BaseModel):
    """What the service has to answer."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    visible: bool
    take: int = Field(ge=1)
    cell: int = Field(ge=1, le=GRID**2)


class ServicePlanner:
    """Asks the service at every decision.

    Args:
        section: model, limits and prices.
        url, key: of the service; by default those of the environment.

    Raises:
        ConfigError: no address, or one that is none.
    """

    def __init__(self, section: ServiceConfig, url: str | None = None, key: str | None = None) -> None:
        url = url if url is not None else os.environ.get(URL, "")
        key = (key if key is not None else os.environ.get(KEY, "")).strip()
        if not url:
            raise ConfigError(f"no address of a planner service: {URL} is not set", "set it, or plan offline")
        if not _is_address(url):
            raise ConfigError(f"{URL} is no address of a service", "for example https://HOST/v1")
        if not (key.isascii() and key.isprintable()):
            raise ConfigError(f"{KEY} holds characters that no key has", "set it anew")
        self._section, self._url, self._key = section, url.rstrip("/") + "/chat/completions", key
        self.calls, self.read, self.written = 0, 0, 0

    @property
    def cost(self) -> float:
        """What the tokens so far cost by the prices of the section."""
        return (self.read * self._section.price_read + self.written * self._section.price_written) / 1e6

    def plan(self, situation: Situation) -> Plan:
        """The service's decision.

        Raises:
            ConfigError: the service refuses the key or the request.
            MissingAssetError: it cannot be reached, or does not answer in time.
            SceneError: two replies in a row are not of the form asked for.
        """
        messages = self._messages(situation)
        wrong = ""
        for _ in range(2):
            text = self._ask(messages)
            try:
                return self._understood(text, len(situation.things))
            except ValueError as error:
                wrong = _first_line(error)
                messages = [
                    *messages,
                    {"role": "assistant", "content": text[:_ECHOED]},
                    {"role": "user", "content": f"That is not an answer of the form asked for: {wrong}. Answer again."},
                ]
        raise SceneError(
            f"the planner service gave no answer that can be read, twice: {wrong}", "try another model, or plan offline"
        )

    def _understood(self, text: str, count: int) -> Plan:
        reply = Reply.model_validate_json(text)
        if reply.take > count:
            raise ValueError(f"take is {reply.take}, of {count} things")
        return Plan(reply.take - 1, reply.cell - 1, reply.visible)

    def _messages(self, situation: Situation) -> list[dict[str, Any]]:
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(marked(situation)).save(buffer, "PNG")
        picture = base64.b64encode(buffer.getvalue()).decode("ascii")
        text = _TASK.format(request=json.dumps(situation.instruction, ensure_ascii=False), count=len(situation.things))
        return [
            {"role": "system", "content": _SYSTEM},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": text},
                    {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{picture}"}},
                ],
            },
        ]

    def _ask(self, messages: list[dict[str, Any]]) -> str:
        """The text of one reply."""
        body = {
            "model": self._section.model,
            "temperature": 0,
            "max_tokens": self._section.max_tokens,
            "messages": messages,
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "plan", "strict": True, "schema": _SCHEMA},
            },
        }
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {self._key}"} if self._key else {})}
        request = urllib.request.Request(self._url, json.dumps(body).encode(), headers, method="POST")
        host = urlsplit(self._url).netloc.rpartition("@")[2]
        try:
            with urllib.request.urlopen(request, timeout=self._section.timeout) as response:
                answer = response.read(_MOST + 1)
        except urllib.error.HTTPError as error:
            error.close()
            if error.code in (401, 403):
                raise ConfigError(f"the planner service at {host} refuses the key (HTTP {error.code})", f"check {KEY}") from None
            if 400 <= error.code < 500 and error.code not in (408, 429):
                raise ConfigError(
                    f"the planner service at {host} refuses the request (HTTP {error.code})",
                    f"check {URL} and methods.thinkgrasp.service.model",
                ) from None
            raise MissingAssetError(
                f"the planner service at {host} fails (HTTP {error.code})",
                "run the same command again later: what is done is kept",
            ) from None
        # OSError: no connection, no such host, no answer in time; ValueError: a header or an address of other characters.
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise MissingAssetError(
                f"the planner service at {host} cannot be reached: {_first_line(reason)}",
                f"check {URL} and methods.thinkgrasp.service.timeout, or plan offline",
            ) from None
        except HTTPException as error:
            raise MissingAssetError(
                f"the planner service at {host} breaks off its answer: {type(error).__name__}", "run the same command again later"
            ) from None
        return self._text(answer, host)

    def _text(self, answer: bytes, host: str) -> str:
        """The reply in an answer of the service; its tokens are counted."""
        try:
            if len(answer) > _MOST:
                raise ValueError("it is too long")
            told = json.loads(answer)
            text = told["choices"][0]["message"]["content"]
            if not isinstance(text, str):
                raise ValueError("it holds no text")
        except (ValueError, KeyError, IndexError, TypeError, RecursionError) as error:
            raise MissingAssetError(
                f"what answers at {host} is no chat service: {type(error).__name__}", f"check {URL}: for example https://HOST/v1"
            ) from None
        usage = told.get("usage")
        usage = usage if isinstance(usage, dict) else {}
        self.calls += 1
        self.read += _count(usage.get("prompt_tokens"))
        self.written += _count(usage.get("completion_tokens"))
        if self.calls == 1 or self.calls % _TOLD_EVERY == 0:
            _log.warning(
                "planner service: %d calls, %d tokens read, %d written, %.2f dollars",
                self.calls,
                self.read,
                self.written,
                self.cost,
            )
        return text


_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"visible": {"type": "boolean"}, "take": {"type": "integer"}, "cell": {"type": "integer"}},
    "required": ["visible", "take", "cell"],
    "additionalProperties": False,
}


def _is_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0 and url.isprintable()
    except ValueError:
        return False


def _count(tokens: object) -> int:
    return tokens if isinstance(tokens, int) and not isinstance(tokens, bool) and tokens > 0 else 0


def _first_line(error: object) -> str:
    if isinstance(error, ValidationError):
        first = error.errors(include_url=False, include_input=False)[0]
        return f"{'.'.join(map(str, first['loc'])) or 'reply'}: {first['msg']}"
    return " ".join(str(error).split())[:200] or type(error).__name__
