"""Who may talk to the server: names, origins, tokens."""

import asyncio
import os
import subprocess
import sys

import httpx
import pytest
from starlette.responses import PlainTextResponse

from athanor.serve.api import checked
from athanor.serve.config import Serve
from athanor.serve.guard import Guard, host_names, is_loopback

TOKEN = "open sesame, very secret"


def status(host="localhost:8000", path="/v1/models", listening="127.0.0.1", further=(), token=None, **headers) -> int:
    """The status that a request gets; header names are written with underscores."""
    guard = Guard(PlainTextResponse("in"), token, host_names(listening, further, token is not None), 1000)

    async def ask() -> int:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(guard), base_url="http://x") as client:
            given = {name.replace("_", "-"): value.encode("latin-1") for name, value in headers.items()}
            return (await client.get(path, headers=given | {"host": host})).status_code

    return asyncio.run(ask())


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8000", "[::1]:8000", "[::1]"])
def test_this_machines_own_names_are_let_in(host):
    assert status(host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8000", "localhost.evil.example", "", "127.0.0.1.evil.example", "[::2]"]
)
def test_a_foreign_name_bent_to_this_address_gets_nothing(host):
    assert status(host) == 403
    assert status(host, path="/") == 403


def test_names_that_were_allowed_are_let_in():
    assert status("box.lan:8000", further=("Box.lan",)) == 200
    assert status("192.168.1.5:8000", listening="192.168.1.5", token=TOKEN, authorization=f"Bearer {TOKEN}") == 200
    assert status("other", listening="192.168.1.5", token=TOKEN, authorization=f"Bearer {TOKEN}") == 403
    assert status("any.name", listening="0.0.0.0", token=TOKEN, authorization=f"Bearer {TOKEN}") == 200


def test_only_its_own_page_may_ask_from_a_browser():
    assert status(origin="http://localhost:8000") == 200
    assert status(origin="http://localhost:8001") == 403
    assert status(origin="https://evil.example") == 403
    assert status(origin="null") == 403


@pytest.mark.parametrize(
    "authorization",
    ["", "Bearer", "Bearer wrong", f"Basic {TOKEN}", TOKEN, f"Bearer {TOKEN}x", f"Bearer {TOKEN[:-1]}", "Bearer \xff"],
)
def test_without_the_token_only_the_page_opens(authorization):
    assert status(token=TOKEN, authorization=authorization) == 401
    assert status(token=TOKEN, authorization=authorization, path="/v1") == 401
    assert status(token=TOKEN, authorization=authorization, path="/") == 200


def test_with_the_token_the_api_opens():
    assert status(token=TOKEN, authorization=f"Bearer {TOKEN}") == 200
    assert status(token=TOKEN, authorization=f"bearer  {TOKEN}") == 200


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("127.0.0.1", True),
        ("127.1.2.3", True),
        ("::1", True),
        ("[::1]", True),
        ("localhost", True),
        ("0.0.0.0", False),
        ("::", False),
        ("192.168.0.1", False),
        ("box.lan", False),
        ("", False),
    ],
)
def test_loopback_is_told_from_the_rest(host, own):
    assert is_loopback(host) == own


def test_a_server_others_can_reach_needs_a_token(monkeypatch):
    monkeypatch.delenv("ATHANOR_TOKEN", raising=False)
    assert checked(Serve()).token is None
    with pytest.raises(ValueError, match="ATHANOR_TOKEN"):
        checked(Serve(host="0.0.0.0"))
    monkeypatch.setenv("ATHANOR_TOKEN", "")
    with pytest.raises(ValueError, match="ATHANOR_TOKEN"):
        checked(Serve(host="0.0.0.0"))
    monkeypatch.setenv("ATHANOR_TOKEN", TOKEN)
    assert checked(Serve(host="0.0.0.0")).token == TOKEN
    assert checked(Serve(token="given")).token == "given"


@pytest.mark.parametrize("token", ["", " ", "très secret", "a\nb"])
def test_a_token_that_no_client_could_send_is_refused(token):
    with pytest.raises(ValueError, match="token"):
        Serve(token=token)


def test_the_token_is_never_shown():
    assert TOKEN not in repr(checked(Serve(token=TOKEN)))


def test_without_the_extra_the_error_says_what_to_install():
    code = (
        "import sys; sys.modules['fastapi'] = None\n"
        "try: import athanor.serve.api\n"
        "except ValueError as error: print(error)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ))
    assert "pip install 'athanor[serve]'" in shown.stdout, shown.stderr


def test_options_are_read_without_torch_or_fastapi():
    code = "import sys, athanor.serve.config; assert not {'torch', 'fastapi', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
