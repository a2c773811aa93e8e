"""A hub that does not answer is told at once: its own client would try for minutes."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import huggingface_hub
import pytest

from srcli.config.encoder import EncoderConfig
from srcli.errors import MissingAssetError
from srcli.perception.encoders import load_encoder, reachable
from srcli.perception.encoders.reachable import Unreachable, check_hub

HOST = "https://hub.example"


@pytest.fixture(autouse=True)
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether the hub's client was to look on this disk alone, each time; nothing is known of the network before."""
    calls: list[bool] = []

    def download(repo: str, name: str, local_files_only: bool, **_: Any) -> str:
        calls.append(local_files_only)
        raise FileNotFoundError(name)

    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", HOST)
    monkeypatch.setattr(reachable, "SECONDS", 0.3)
    # The client keeps the proxies that were set when it was made.
    huggingface_hub.close_session()
    check_hub.cache_clear()
    yield calls
    huggingface_hub.close_session()
    check_hub.cache_clear()


@pytest.fixture
def silent() -> Iterator[int]:
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def answering(monkeypatch: pytest.MonkeyPatch, answer: Callable[[], Any]) -> list[float]:
    """The hub's client with an answer of the test's; gets the time limits that it was given."""
    limits: list[float] = []

    def head(address: str, timeout: float) -> Any:
        assert address == HOST
        limits.append(timeout)
        return answer()

    monkeypatch.setattr(huggingface_hub, "get_session", lambda: SimpleNamespace(head=head))
    return limits


def load(name: str = "hf-hub:someone/some-clip", pretrained: str = "") -> None:
    load_encoder(EncoderConfig(name=name, pretrained=pretrained, download=True))


@pytest.mark.parametrize(("name", "pretrained"), [("ViT-B-16-quickgelu", "openai"), ("hf-hub:someone/some-clip", "")])
def test_a_hub_that_never_answers_is_told(
    name: str, pretrained: str, silent: int, asked: list[bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", f"http://127.0.0.1:{silent}")
    with pytest.raises(MissingAssetError, match=r"127\.0\.0\.1 did not answer within 0\.3 s; looked in ") as caught:
        load(name, pretrained)
    assert asked and all(asked), "nothing was to be fetched"
    assert "the network, its proxy" in caught.value.hint and f"--encoder {name}=" in caught.value.hint


def test_a_proxy_that_never_answers_is_named_without_its_password(silent: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{silent}")
    with pytest.raises(MissingAssetError) as caught:
        load()
    assert f"hub.example did not answer within 0.3 s through the proxy 127.0.0.1:{silent};" in caught.value.message
    assert "secret" not in f"{caught.value.message}{caught.value.hint}"


def test_a_place_without_a_route_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """As a name that nobody resolves: no limit of the client's ends it."""
    ended = threading.Event()
    limits = answering(monkeypatch, lambda: ended.wait(3))
    try:
        with pytest.raises(Unreachable, match=r"^hub\.example did not answer within 0\.3 s$"):
            check_hub()
    finally:
        ended.set()
    assert limits == [reachable.SECONDS]


def test_what_refuses_or_stands_for_an_absent_hub_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused() -> None:
        raise ConnectionRefusedError

    answering(monkeypatch, refused)
    with pytest.raises(Unreachable, match=r"^hub\.example cannot be reached: ConnectionRefusedError$"):
        check_hub()
    answering(monkeypatch, lambda: SimpleNamespace(status_code=502))
    with pytest.raises(Unreachable, match=r"^hub\.example cannot be reached: HTTP 502$"):
        check_hub()


@pytest.mark.parametrize("status", [200, 401, 404])
def test_a_hub_that_answers_is_asked_once(status: int, asked: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = answering(monkeypatch, lambda: SimpleNamespace(status_code=status))
    for _ in range(2):
        with pytest.raises(MissingAssetError, match="the hub said: FileNotFoundError"):
            load()
    assert len(limits) == 1 and asked.count(False) == 2


def test_without_the_wish_to_download_nobody_is_asked(asked: list[bool], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = answering(monkeypatch, lambda: SimpleNamespace(status_code=200))
    with pytest.raises(MissingAssetError, match="downloading is off"):
        load_encoder(EncoderConfig(name="hf-hub:someone/some-clip"))
    assert limits == [] and asked and all(asked)
