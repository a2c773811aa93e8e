"""ThinkGrasp: what it removes first, its planner offline, and a planner behind a service that may do anything."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, ClassVar

import numpy as np
import pytest
from grounded_scene import APPLE, AT, Paint, block, scene
from method_inputs import from_above

from srcli.config.regions import RegionConfig
from srcli.errors import ConfigError, MissingAssetError, SceneError
from srcli.learning.regions import regions_of
from srcli.methods.base import Decision
from srcli.methods.grounding import (
    THINKGRASP,
    planner,
    service,
    thinkgrasp,
)
from srcli.methods.grounding.section import ServiceConfig, ThinkGraspConfig
from srcli.methods.registry import builder, settings


def test_while_the_target_is_hidden_what_reaches_highest_is_removed() -> None:
    section = ThinkGraspConfig()
    made = scene(np.eye(6, dtype=np.float32)[5])
    higher = block(*AT["box"]) + np.array([0, 0, 0.002], np.float32)
    percept = made.percept()
    cloud = replace(percept.cloud, rest=higher)
    made = replace(made, percept=lambda: replace(percept, cloud=cloud))
    policy = thinkgrasp.ThinkGrasp(section, Paint(), planner.OfflinePlanner(section.visible))
    assert policy.act(made).action.index in (2, 3)
    blocked = replace(made, excluded=np.array([False, False, True, True, False]))
    assert policy.act(blocked).action.index in (0, 1), "what no grasp is left of is no way out"


def test_cells_are_numbered_as_the_first_view_shows_them() -> None:
    centres = planner.cell_centres(np.array([0.4, -0.1, 0], np.float32), np.array([0.7, 0.2, 0.05], np.float32), from_above())
    # The picture's upper edge is at larger x, its left at larger y.
    np.testing.assert_allclose(centres[0], [0.65, 0.15, 0.05], atol=1e-6)
    np.testing.assert_allclose(centres[1], [0.65, 0.05, 0.05], atol=1e-6)
    np.testing.assert_allclose(centres[8], [0.45, -0.05, 0.05], atol=1e-6)


class Replies(BaseHTTPRequestHandler):
    """Answers with what a test wrote by hand, in turn; no service was ever asked."""

    answers: ClassVar[list[tuple[int, bytes]]]
    asked: ClassVar[list[dict[str, Any]]]
    keys: ClassVar[list[str]]

    def do_POST(self) -> None:
        type(self).asked.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
        type(self).keys.append(self.headers.get("Authorization", ""))
        status, body = type(self).answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture()
def replies() -> Iterator[tuple[str, type[Replies]]]:
    class Own(Replies):
        answers: ClassVar[list[tuple[int, bytes]]] = []
        asked: ClassVar[list[dict[str, Any]]] = []
        keys: ClassVar[list[str]] = []

    server = HTTPServer(("127.0.0.1", 0), Own)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1", Own
    server.shutdown()
    thread.join()
    server.server_close()


def said(content: str, **usage: int) -> tuple[int, bytes]:
    return 200, json.dumps({"choices": [{"message": {"role": "assistant", "content": content}}], "usage": usage}).encode()


GOOD = '{"visible": true, "take": 2, "cell": 5}'


def ask(url: str, **changes: Any) -> tuple[thinkgrasp.ThinkGrasp, service.ServicePlanner]:
    asked = service.ServicePlanner(ServiceConfig(**changes), url, "key")
    return thinkgrasp.ThinkGrasp(ThinkGraspConfig(), Paint(), asked), asked


def test_the_service_is_shown_numbers_and_its_answer_is_followed(replies: tuple[str, type[Replies]]) -> None:
    url, server = replies
    server.answers += [said(GOOD, prompt_tokens=1000, completion_tokens=10), said('{"visible": false, "take": 1, "cell": 1}')]
    policy, asked = ask(url + "/", price_read=2.0, price_written=10.0)
    made = scene(APPLE)
    assert policy.act(made).action.index in (2, 3), "whatever the encoder finds like the sentence"
    assert policy.act(made).action.index in (0, 1)
    assert (asked.calls, asked.read, asked.written) == (2, 1000, 10) and asked.cost == pytest.approx(0.0021)
    request = server.asked[0]
    assert request["temperature"] == 0 and request["response_format"]["json_schema"]["strict"] is True
    text, picture = request["messages"][1]["content"]
    assert '"give me the apple"' in text["text"] and "1 to 2" in text["text"]
    assert picture["image_url"]["url"].startswith("data:image/png;base64,")
    assert server.keys == ["Bearer key"] * 2
    shown = planner.marked(_situation(made))
    assert max(shown.shape) == 768 and shown.any() and not made.observation.rgb.any(), "nothing but the numbers is not black"


def _situation(made: Decision) -> planner.Situation:
    from srcli.methods.grounding.field import look

    field = look(made, Paint().dense(made.observation.rgb))
    things = regions_of(field.points, field.features, RegionConfig())
    return planner.Situation(made.instruction, field, things, things.features @ field.query, np.ones(2, bool), made.observation)


@pytest.mark.parametrize(
    "wrong",
    [
        "I would take the apple",
        "```json\n" + GOOD + "\n```",
        '{"visible": true, "take": 3, "cell": 5}',
        '{"visible": true, "take": 0, "cell": 5}',
        '{"visible": true, "take": 1, "cell": 10}',
        '{"visible": "yes", "take": 1, "cell": 1}',
        '{"visible": true, "take": 1}',
        '{"visible": true, "take": 1, "cell": 1, "more": 1}',
        "[]",
        "",
    ],
)
def test_a_wrong_answer_is_asked_for_once_more(wrong: str, replies: tuple[str, type[Replies]]) -> None:
    url, server = replies
    server.answers += [said(wrong), said(GOOD), said(wrong), said(wrong)]
    policy, _ = ask(url)
    assert policy.act(scene(APPLE)).action.index in (2, 3)
    assert len(server.asked) == 2 and server.asked[1]["messages"][-2] == {"role": "assistant", "content": wrong}
    with pytest.raises(SceneError, match="twice"):
        policy.act(scene(APPLE))
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ((401, b""), ConfigError, "refuses the key"),
        ((404, b"no such model"), ConfigError, "refuses the request"),
        ((429, b""), MissingAssetError, "fails"),
        ((500, b""), MissingAssetError, "fails"),
        ((200, b"<html>"), MissingAssetError, "no chat service"),
        ((200, b'{"choices": []}'), MissingAssetError, "no chat service"),
        ((200, b'{"choices": [{"message": {"content": null}}]}'), MissingAssetError, "no chat service"),
        ((200, b"[" * 100000), MissingAssetError, "no chat service"),
        ((200, b"\xff\xfe"), MissingAssetError, "no chat service"),
    ],
)
def test_what_a_service_may_do_wrong_is_told(
    answer: tuple[int, bytes], error: type[Exception], told: str, replies: tuple[str, type[Replies]]
) -> None:
    url, server = replies
    server.answers.append(answer)
    with pytest.raises(error, match=told) as caught:
        ask(url)[0].act(scene(APPLE))
    assert "key" not in str(caught.value).replace("refuses the key", "")


def test_a_service_that_is_not_there_or_too_slow_is_told(replies: tuple[str, type[Replies]]) -> None:
    url, server = replies
    with pytest.raises(MissingAssetError, match="cannot be reached"):
        ask("http://127.0.0.1:1/v1")[0].act(scene(APPLE))

    def slow(self: Replies) -> None:
        threading.Event().wait(0.5)

    server.do_POST = slow  # type: ignore[method-assign]
    with pytest.raises(MissingAssetError, match=r"cannot be reached|breaks off"):
        ask(url, timeout=0.1)[0].act(scene(APPLE))


def test_address_and_key_come_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    section = settings(THINKGRASP, THINKGRASP.section(), {"planner": "service"})
    monkeypatch.delenv(service.URL, raising=False)
    with pytest.raises(ConfigError, match="SRCLI_PLANNER_URL is not set"):
        builder(THINKGRASP)(section, None, Paint(), "cpu", 0)
    for wrong in ("planner", "ftp://host/v1", "http://", "http://[", "http://host:x/v1", "file:///etc/passwd"):
        monkeypatch.setenv(service.URL, wrong)
        with pytest.raises(ConfigError, match="no address"):
            builder(THINKGRASP)(section, None, Paint(), "cpu", 0)
    monkeypatch.setenv(service.URL, "http://127.0.0.1:1/v1")
    monkeypatch.setenv(service.KEY, "secret\nkey")
    with pytest.raises(ConfigError, match="holds characters") as caught:
        builder(THINKGRASP)(section, None, Paint(), "cpu", 0)
    assert "secret" not in str(caught.value)
