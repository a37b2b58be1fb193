"""No redirect is followed, on no path: secrets in a request's headers go only to the job's servers."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

pytest.importorskip("aiohttp")

from aiohttp import web
from anomaly_synthesis.batch import commands
from anomaly_synthesis.batch.client import Redirected, Server, address_of, session
from anomaly_synthesis.files.untrusted_json import JsonValue

from .batch_jobs import FAST, run, write_job
from .simulated_server import Simulated


class Elsewhere:
    """Another host, which records the headers of every request."""

    def __enter__(self):
        self.seen, self._loop = [], asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, daemon=True).start()
        asyncio.run_coroutine_threadsafe(self._start(), self._loop).result(10)
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self._runner.cleanup(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)

    async def _start(self):
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(app)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        self.port = site._server.sockets[0].getsockname()[1]

    async def _answer(self, request):
        self.seen.append((request.path, dict(request.headers)))
        return web.json_response({})


@pytest.fixture
def elsewhere():
    with Elsewhere() as running:
        yield running


async def _socket(server):
    async with server.socket("client"):
        pass


CALLS = {
    "/system_stats": lambda server: server.version(),
    "/object_info": lambda server: server.object_info(),
    "/prompt": lambda server: server.send({}, "id", "client", [], {}),
    "/queue": lambda server: server.queue(),
    "/history": lambda server: server.history("id"),
    "/view": lambda server: server.view(JsonValue({"filename": "a.png"}, "here")),
    "/upload": lambda server: server.upload("a.png", b"data"),
    "/interrupt": lambda server: server.interrupt("id"),
    "/ws": _socket,
}


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_no_call_follows_a_redirect(elsewhere, monkeypatch, status, host):
    monkeypatch.setenv("ANOMALY_SYNTHESIS_HEADERS", "Authorization: Bearer hidden-word\nCookie: id=hidden-word")
    messages = {}

    async def all_calls(server):
        async with session() as http:
            for path, call in CALLS.items():
                with pytest.raises(Redirected) as refused:
                    await call(Server(server.url, http, FAST))
                messages[path] = str(refused.value)

    with Simulated() as server:
        server.redirect = {path: (status, f"http://me:pass-word@{host}:{elsewhere.port}") for path in CALLS}
        asyncio.run(all_calls(server))
    assert elsewhere.seen == []
    for path, words in messages.items():
        assert f"redirects to http://{host}:{elsewhere.port}{path}" in words and "into `servers`" in words
        assert "hidden-word" not in words and "pass-word" not in words


@pytest.mark.parametrize("path", ["/ws", "/view", "/history"])
def test_a_run_sends_nothing_elsewhere(elsewhere, monkeypatch, tmp_path, path, caplog):
    monkeypatch.setenv("ANOMALY_SYNTHESIS_HEADERS", "X-Api-Key: hidden-word")
    with Simulated() as server:
        server.redirect = {path: (302, f"http://127.0.0.1:{elsewhere.port}")}
        counts = run(write_job(tmp_path, [server], count=2, limits={"tries": 1}))
    assert elsewhere.seen == []
    assert counts["written"] == (2 if path == "/ws" else 0) and counts["set_aside"] == (0 if path == "/ws" else 2)
    assert ("/ws redirects to http://127.0.0.1:" in caplog.text) == (path == "/ws")
    if path != "/ws":
        text = commands.status(tmp_path / "job.yaml")
        assert path in text and "redirects" in text


def test_a_server_that_redirects_is_named_at_once_with_the_remedy(elsewhere, tmp_path):
    with Simulated() as server:
        server.redirect = {"/system_stats": (301, f"https://127.0.0.1:{elsewhere.port}/?token=hidden-word")}
        timing = FAST.__class__(**{**FAST.__dict__, "start": 3600})
        with pytest.raises(ValueError, match="no server can be used") as refused:
            run(write_job(tmp_path, [server]), timing, limit=10)
    assert f"/system_stats redirects to https://127.0.0.1:{elsewhere.port}/," in str(refused.value)
    assert "put the final address into `servers`" in str(refused.value) and "hidden-word" not in str(refused.value)
    assert elsewhere.seen == []


def test_proxies_of_the_environment_are_not_used(elsewhere, monkeypatch, tmp_path):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "ws_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{elsewhere.port}")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with Simulated() as server:
        assert run(write_job(tmp_path, [server], count=1))["written"] == 1
    assert elsewhere.seen == []


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        ("http://a:1/ws", "http://a:1/ws"),
        ("//a/x", "//a/x"),
        ("/login?next=1", "/login"),
        ("", ""),
        ("https://me:pa/ss#wo?rd@host/x?token=1#y", "https://host/x"),
        ("me:secret@host:8188", "host:8188"),
        ("http://a/\x1b[31m\r\nb\u202e", "http://a/\\x1b[31m\\r\\nb\\u202e"),
    ],
)
def test_addresses_are_shown_without_secrets(address, shown):
    assert address_of(address) == shown


def test_an_address_that_is_refused_shows_no_password(tmp_path):
    for address in (
        "ftp://me:hidden-word@a",
        "me:hidden-word@a:8188",
        "http://[::1",
        "http://a:99999",
        "http://a/#x",
        "http://a?token=hidden-word",
    ):
        path = write_job(tmp_path, [SimpleNamespace(url=address)])
        with pytest.raises(ValueError, match=r"servers\.0: '.*'; accepted is an address") as refused:
            commands.dry_run(path)
        assert "hidden-word" not in str(refused.value)
