"""One ComfyUI server over its own HTTP API. Everything that it answers is untrusted: its size, form and addresses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

from ..errors import Refused, reason
from ..files.untrusted_json import JsonValue, described, parse_json
from ..files.untrusted_text import one_line
from .settings import Limits

HEADERS = "ANOMALY_SYNTHESIS_HEADERS"  # environment variable: "Name: value", one a line
MEGABYTES = int(Limits.megabytes)  # of a file that a server hands over, where the job sets no other limit
_MOST_JSON, _MOST_MESSAGE = 64 << 20, 16 << 20
_SMALL = 8 << 20  # bytes of an answer that are read beside other answers; of larger ones, one at a time
_BUSY = {408, 425, 429, 502, 503, 504, 507}
UPLOADS = "anomaly-synthesis-batch"  # the subfolder of a server's input that files are sent to


class ServerGone(Exception):
    """No answer, or none that a ComfyUI gives; nothing is known of what was asked for.

    crashed: the prompt in question was seen to run, and may be what brought the server down.
    """

    def __init__(self, words: str, crashed: bool = False) -> None:
        super().__init__(words)
        self.crashed = crashed


class Redirected(ServerGone):
    """The answer is another address. It is never followed: the headers are for the servers that the job names."""

    def __init__(self, path: str, location: str | None) -> None:
        super().__init__(
            f"{path} redirects to {address_of(location or '') or 'no address'}, which is not followed; put the final "
            "address into `servers`"
        )


class Busy(Exception):
    """The server, or a proxy before it, takes nothing now."""


class PromptRejected(Exception):
    """The server finds the prompt invalid."""


class NotThere(Exception):
    """The server does not have the file."""


@dataclass(frozen=True)
class Timing:
    """Seconds.

    answer: for one answer; poll, poll_blind: between looks at a server, with a socket that reports ends and without;
    retry, retry_most: the first and the longest wait before a lost server is tried again; grace: after which a lost
    server's items go to others; start: to wait for a first server; tick: of the display and of housekeeping.
    """

    answer: float = 30
    poll: float = 5
    poll_blind: float = 1
    retry: float = 0.5
    retry_most: float = 30
    grace: float = 30
    start: float = 60
    tick: float = 1


def session() -> aiohttp.ClientSession:
    """For all servers: no proxies, cookies or redirects; headers from the environment go to the job's servers alone.

    Raises Refused for headers of another form, without showing them.
    """
    # The socket's handshake follows redirects inside aiohttp, and has no option for it: the trace stops it before the
    # next request. Answers are taken as they come: unpacking would let a small one fill the memory.
    no_redirects = aiohttp.TraceConfig()
    no_redirects.on_request_redirect.append(_refuse_redirect)
    return aiohttp.ClientSession(
        headers={"Accept-Encoding": "identity", **headers_from(os.environ.get(HEADERS, ""))},
        cookie_jar=aiohttp.DummyCookieJar(),
        trust_env=False,
        auto_decompress=False,
        trace_configs=[no_redirects],
        connector=aiohttp.TCPConnector(limit=0),
    )


async def _refuse_redirect(_session, _context, redirect: aiohttp.TraceRequestRedirectParams) -> None:
    redirect.response.close()
    raise Redirected(redirect.url.path, redirect.headers.get("Location") or redirect.response.headers.get("Location"))


def address_of(url: str) -> str:
    """An address as it may be shown: without name, password, query and fragment, which may be secrets."""
    shown = re.sub(r"^([a-z][a-z0-9+.-]*://|//)?.*@", r"\1", url, flags=re.IGNORECASE | re.DOTALL)
    return one_line(re.split(r"[?#]", shown, maxsplit=1)[0], 200)


def headers_from(text: str) -> dict[str, str]:
    """Headers of "Name: value" lines."""
    found = {}
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        name, colon, value = line.partition(":")
        if not colon or not name.strip().replace("-", "").isalnum():
            raise Refused(f"{HEADERS}, line {number}", accepted="'Name: value'")  # its text may be a secret
        found[name.strip()] = value.strip()
    return found


class Server:
    """A server of the job; `most`: bytes of a file that it may hand over."""

    def __init__(self, url: str, http: aiohttp.ClientSession, timing: Timing, most: int = MEGABYTES << 20) -> None:
        self.url, self._http, self.timing, self._most = url, http, timing, most
        self._large = asyncio.Lock()

    async def version(self) -> str:
        """ComfyUI's version. Raises ServerGone for anything that is no ComfyUI."""
        try:
            stats = await self._json("GET", "/system_stats")
            return one_line(stats.at("system", "comfyui_version").of(str), 40)
        except ValueError as error:
            raise ServerGone(f"it answers, but not as ComfyUI does ({reason(error)})") from error

    async def object_info(self) -> dict[str, Any]:
        """Every node of the server; each is checked where it is used. Raises ServerGone, Busy."""
        try:
            return (await self._json("GET", "/object_info")).of(dict)
        except ValueError as error:
            raise ServerGone(str(error)) from error

    async def send(self, prompt: Mapping, prompt_id: str, client_id: str, targets: list[str], mark: dict) -> str:
        """Queue a prompt for its target nodes; the id that the server gave it, which is ours on all hosts we know.

        Raises PromptRejected with the server's reasons, Busy, ServerGone; ValueError for an answer of another form.
        """
        body = {
            "prompt": prompt,
            "prompt_id": prompt_id,
            "client_id": client_id,
            "partial_execution_targets": targets,
            "extra_data": {UPLOADS: mark},
        }
        answer = await self._json("POST", "/prompt", body, also=(400,))
        given = answer.get("prompt_id")
        if answer.value.get("node_errors") or answer.get("error"):
            if given and given.is_a(str) and _ID.fullmatch(given.value):  # some of its outputs are fine, and would run
                await self.delete([given.value])
            raise PromptRejected(_reasons(answer))
        if not _ID.fullmatch(answer.at("prompt_id").of(str)):
            raise given.wrong("an id of letters, digits, - and _")
        return given.value

    async def queue(self) -> tuple[dict[str, dict], dict[str, dict]]:
        """(running, pending): prompt id -> the mark that `send` gave it, {} for prompts of others."""
        try:
            answer = await self._json("GET", "/queue")
            return tuple(
                {entry.at(1).of(str): _mark(entry) for entry in answer.at(part).each()}
                for part in ("queue_running", "queue_pending")
            )
        except ValueError as error:
            raise ServerGone(str(error)) from error

    async def history(self, prompt_id: str) -> JsonValue | None:
        """How a prompt ended; None where the server does not know of it.

        Raises ServerGone, Busy; ValueError for an entry of another form, which may be the prompt's own fault.
        """
        entry = (await self._json("GET", f"/history/{prompt_id}")).get(prompt_id)
        if entry is not None:
            entry.at("outputs").of(dict)
        return entry

    async def found(self, mark: dict) -> str | None:
        """The id of a prompt with this mark, on a server that gives ids of its own."""
        for part in await self.queue():
            for prompt_id, there in part.items():
                if there == mark:
                    return prompt_id
        try:
            for prompt_id, entry in (await self._json("GET", "/history?max_items=500")).items():
                if entry.is_a(dict) and _mark(entry.get("prompt")) == mark and _ID.fullmatch(prompt_id):
                    return prompt_id
        except ValueError as error:
            raise ServerGone(str(error)) from error
        return None

    async def view(self, image: JsonValue) -> bytes:
        """The bytes of a file that a node showed.

        Raises NotThere, ServerGone, Busy; ValueError where `image` names no file.
        """
        wanted = {"filename": image.at("filename").text()}
        for key in ("subfolder", "type"):
            found = image.get(key)
            wanted[key] = "" if found is None else found.text()
        return await self._call("GET", "/view", self._most, params=wanted)

    async def upload(self, name: str, data: bytes) -> str:
        """Send a file to the server's input; what its loaders call it.

        Raises ServerGone, Busy; ValueError for an answer of another form.
        """
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name, content_type="application/octet-stream")
        for key, value in (("subfolder", UPLOADS), ("type", "input"), ("overwrite", "true")):
            form.add_field(key, value)
        answer = parse_json(await self._call("POST", "/upload/image", _MOST_JSON, data=form), "/upload/image")
        if answer.at("name").of(str) != name:
            raise answer.at("name").wrong(f"the name that was sent, {name}")
        return f"{UPLOADS}/{name}"

    async def delete(self, prompt_ids: list[str]) -> None:
        """Take prompts that do not run yet out of the queue."""
        await self._call("POST", "/queue", _MOST_JSON, json={"delete": prompt_ids})

    async def interrupt(self, prompt_id: str) -> None:
        """Stop a prompt, if it is the one that runs."""
        await self._call("POST", "/interrupt", _MOST_JSON, json={"prompt_id": prompt_id})

    def socket(self, client_id: str):
        """The server's WebSocket, as a context. Entering it raises Redirected where the answer is another address."""
        return self._http.ws_connect(
            f"{self.url}/ws", params={"clientId": client_id}, heartbeat=20, max_msg_size=_MOST_MESSAGE
        )

    async def _json(self, method: str, path: str, body: dict | None = None, also: tuple = ()) -> JsonValue:
        sent = {} if body is None else {"json": body}
        return parse_json(await self._call(method, path, _MOST_JSON, also, **sent), path)

    async def _call(self, method: str, path: str, most: int, also: tuple = (), **sent) -> bytes:
        try:
            async with self._http.request(
                method, self.url + path, allow_redirects=False, timeout=self._patience(path), **sent
            ) as answer:
                if 300 <= answer.status < 400:
                    raise Redirected(path, answer.headers.get("Location"))
                if answer.status in _BUSY:
                    raise Busy(f"{path} answers {answer.status}")
                if answer.status == 404 and path == "/view":
                    raise NotThere("the server does not have the file any more")
                if answer.status != 200 and answer.status not in also:
                    raise ServerGone(f"{path} answers {answer.status}")
                packed = answer.headers.get("Content-Encoding", "identity").strip().lower()
                if packed not in ("identity", ""):
                    raise ServerGone(f"{path} answers packed ({one_line(packed, 20)}), which was not asked for")
                return await self._read(answer, path, most)
        except asyncio.TimeoutError as error:
            raise ServerGone(f"no answer to {path} in {self._patience(path).total:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServerGone(f"{path}: {type(error).__name__}") from error  # its text could show headers

    async def _read(self, answer: aiohttp.ClientResponse, path: str, most: int) -> bytes:
        """The body, of at most so many bytes, whatever its length is said to be."""
        limit = f"more than {most / 2**20:g} MB" + ("; limits.megabytes of the job allows more" * (path == "/view"))
        if (answer.content_length or 0) > most:
            raise ServerGone(f"{path} answers {limit}")
        chunks, size = [], 0
        async with contextlib.AsyncExitStack() as held:
            async for chunk in answer.content.iter_any():
                if size <= _SMALL < size + len(chunk):
                    await held.enter_async_context(self._large)
                size += len(chunk)
                if size > most:
                    raise ServerGone(f"{path} answers {limit}")
                chunks.append(chunk)
            return b"".join(chunks)

    def _patience(self, path: str) -> aiohttp.ClientTimeout:
        """One that drips is as good as gone, too: the whole answer has its time, a file ten times as much."""
        wait = self.timing.answer
        return aiohttp.ClientTimeout(total=10 * wait if path == "/view" else wait, sock_connect=wait, sock_read=wait)


_ID = re.compile(r"[\w-]{1,100}", re.ASCII)  # of a prompt; it becomes part of an address


def _mark(entry: JsonValue | None) -> dict:
    """The mark that `send` gave an entry of the queue; {} for prompts of others, whatever they hold."""
    try:
        return entry.at(3, UPLOADS).of(dict)
    except (ValueError, AttributeError):
        return {}


def _reasons(answer: JsonValue) -> str:
    """Why a prompt was refused, by all that the answer says in the forms that are known."""
    found = [_reason(answer.value["error"])] if answer.value.get("error") else []
    errors = answer.value.get("node_errors")
    for node, refusal in errors.items() if isinstance(errors, dict) else ():
        listed = refusal.get("errors") if isinstance(refusal, dict) else None
        for error in listed if isinstance(listed, list) else ():
            found.append(f"node {node} ({_short(refusal.get('class_type'))}): {_reason(error)}")
    return one_line("; ".join(found), 2000) or "the server refuses the prompt without a reason"


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return _short(error)
    return ", ".join(_short(error[key]) for key in ("message", "details") if error.get(key))


def _short(value: Any) -> str:
    return value[:1000] if isinstance(value, str) else described(value)
