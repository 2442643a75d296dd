"""By which names, from which pages and under which path the server is reached."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from live import Live

from rxt.cli.serve_options import Options as Arguments
from rxt.cli.serve_options import allowed_hosts, check
from rxt.errors import UserError
from rxt.server.keys import Keys
from rxt.server.service import Options

PAGE = "https://example.com"


def test_only_the_servers_own_names_are_answered(serve: Callable[..., Live]) -> None:
    live = serve(options=Options(hosts=allowed_hosts(Arguments(hosts=("Chat.example.com",)))))
    for name in ("localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "chat.example.com"):
        assert live.http.get("/v1/models", headers={"Host": name}).status_code == 200, name
    for name in ("evil.example", "evil.example:8000", "localhost.evil.example", "evil.example@x", "[", ""):
        for path in ("/v1/models", "/", "/healthz"):
            reply = live.http.get(path, headers={"Host": name})
            assert (reply.status_code, reply.json()["error"]["code"]) == (400, "host_not_allowed"), name


def test_names_are_checked_at_loopback_addresses_and_where_they_are_given() -> None:
    assert allowed_hosts(Arguments()) == {"localhost", "127.0.0.1", "::1"}
    assert allowed_hosts(Arguments(host="0.0.0.0")) == frozenset()
    assert "a.example" in allowed_hosts(Arguments(host="0.0.0.0", hosts=("a.example",)))


def test_pages_of_other_sites_call_only_where_they_may(serve: Callable[..., Live]) -> None:
    asks = {
        "Origin": PAGE,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "authorization,content-type",
    }
    allowed = serve(options=Options(origins=(PAGE,), most_body=100))
    reply = allowed.http.options("/v1/responses", headers=asks)
    assert (reply.status_code, reply.headers["access-control-allow-origin"]) == (200, PAGE)
    assert "authorization" in reply.headers["access-control-allow-headers"]
    assert allowed.http.options("/v1/responses", headers=asks | {"Origin": "https://evil.example"}).status_code == 400
    refused = allowed.http.post("/v1/responses", json={"input": "x" * 200}, headers={"Origin": PAGE})
    assert (refused.status_code, refused.headers["access-control-allow-origin"]) == (413, PAGE)
    closed = serve(db=":memory:")
    assert "access-control-allow-origin" not in closed.http.get("/v1/models", headers={"Origin": PAGE}).headers


def test_a_path_before_all_others(serve: Callable[..., Live]) -> None:
    live = serve(options=Options(root_path="/rxt"))
    for path in ("/v1/models", "/rxt/v1/models"):  # a proxy takes it off, or does not
        assert live.http.get(path).json()["data"][0]["id"] == "rxt"
    assert live.http.get("/openapi.json").json()["servers"] == [{"url": "/rxt"}]
    assert live.http.get("/rxt/docs/swagger-ui.css").status_code == 200
    page = live.http.get("/rxt/").text
    assert 'fetch("." + path' in page
    assert not any(absolute in page for absolute in ('src="/', 'href="/', 'fetch("/'))


@pytest.mark.parametrize(
    "wrong", [Arguments(origins=("example.com",)), Arguments(origins=(f"{PAGE}/",)), Arguments(root_path="rxt")]
)
def test_wrong_addresses_are_named(wrong: Arguments) -> None:
    with pytest.raises(UserError, match=r"--(origins|root-path)"):
        check(wrong)


def test_the_page_of_the_interface_comes_from_here_alone(live: Live) -> None:
    page = live.http.get("/docs").text
    addresses = re.findall(r"""(?:src|href|url)(?:=|: )["']([^"']+)""", page)
    assert len(addresses) >= 4
    for address in addresses:
        assert not address.startswith(("/", "http")), address
        assert live.http.get(f"/{address}").status_code == 200, address


def test_health_is_told_when_too_many_are_connected(serve: Callable[..., Live]) -> None:
    live = serve(options=Options(connections=2, root_path="/rxt"))
    first, second, third = live.raw(), live.raw(), live.raw()
    assert [client.get("/v1/models").status_code for client in (first, second)] == [200, 200]
    refused = third.get("/v1/models")
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_connections")
    assert refused.headers["retry-after"] == "1"
    for path in ("/healthz", "/readyz", "/metrics", "/rxt/healthz"):
        assert third.get(path).status_code == 200, path
    first.close()
    for _ in range(500):
        if third.get("/v1/models").status_code == 200:
            break
        time.sleep(0.01)
    assert third.get("/v1/models").status_code == 200


def test_keys_that_cannot_be_sent_are_named_by_their_place(tmp_path: Path) -> None:
    file = tmp_path / "keys.txt"
    file.write_text("one # of Anna\n\nse cret\n")
    for variable, path, message in (
        (None, file, rf"^{file} line 3: an API key consists of ASCII"),
        ("a,b c", None, r"^RXT_API_KEYS, key 2: an API key consists of ASCII"),
        (" , ", None, r"^RXT_API_KEYS is set and holds no key"),
    ):
        with pytest.raises(UserError, match=message) as refused:
            Keys.read(path, variable)
        assert "cret" not in str(refused.value)
    file.write_text("one\n\n# two\n")
    keys = Keys.read(file, "three,")
    assert keys.owner("Bearer one") != keys.owner("Bearer three")
    assert not Keys.read(None, "")
