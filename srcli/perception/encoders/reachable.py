"""Whether the hub of models answers: asked with a short wait before anything is fetched, because its client tries for minutes."""

from __future__ import annotations

import threading
from functools import lru_cache
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

SECONDS = 4.0
"""Of the whole question: names, proxies and certificates each have time limits of their own."""
_GATEWAY = (502, 503, 504)


class Unreachable(Exception):
    """The hub does not answer; says why in a few words."""


@lru_cache(maxsize=1)
def check_hub() -> None:
    """Ask the hub for a sign of life, through the proxy that is set. Once it has answered it is not asked again.

    Raises:
        Unreachable: no answer within :data:`SECONDS`, or one of a gateway that has none.
    """
    from huggingface_hub import constants, get_session

    address, session = constants.ENDPOINT, get_session()
    said: list[str] = []

    def ask() -> None:
        try:
            status = session.head(address, timeout=SECONDS).status_code
            said.append(f"HTTP {status}" if status in _GATEWAY else "")
        except Exception as error:  # the hub's client has changed its HTTP library, and each has errors of its own
            said.append(type(error).__name__)

    # A look-up of a name knows no limit: it is waited for no longer than the rest.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(SECONDS)
    if said == [""]:
        return
    host, through = urlsplit(address).hostname, _proxy(address)
    if not said or "Timeout" in said[0]:
        raise Unreachable(f"{host} did not answer within {SECONDS:g} s{through}")
    raise Unreachable(f"{host} cannot be reached{through}: {said[0]}")


def _proxy(address: str) -> str:
    """The proxy that stands before an address, without the password that may be in its own."""
    parts = urlsplit(address)
    proxies = getproxies()
    given = proxies.get(parts.scheme) or proxies.get("all")
    if not given or proxy_bypass(parts.hostname or ""):
        return ""
    try:
        proxy = urlsplit(given if "//" in given else f"//{given}")
        return f" through the proxy {proxy.hostname}" + (f":{proxy.port}" if proxy.port else "")
    except ValueError:
        return " through a proxy whose address cannot be read"
