"""One ComfyUI server over its own HTTP API. Everything that it answers is taken for untrusted."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import aiohttp

HEADERS = "ANOMALY_SYNTHESIS_HEADERS"  # environment variable: "Name: value", one a line
_MOST_JSON, _MOST_FILE = 256 << 20, 512 << 20
_BUSY = {408, 425, 429, 502, 503, 504, 507}
UPLOADS = "anomaly-synthesis-batch"  # the subfolder of a server's input that files are sent to


class ServerGone(Exception):
    """No answer, or none that a ComfyUI would give; nothing is known of what was asked for.

    crashed: the prompt in question was seen to run, and may be what brought the server down.
    """

    def __init__(self, words: str, crashed: bool = False) -> None:
        super().__init__(words)
        self.crashed = crashed


class Busy(Exception):
    """The server, or a proxy before it, takes nothing now."""


class Refused(Exception):
    """The server finds the prompt invalid."""


class NotThere(Exception):
    """The server does not have the file."""


@dataclass(frozen=True)
class Timing:
    """Seconds.

    answer: for one answer; poll, poll_blind: between looks at a server, with a socket that tells of ends and without;
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
    """For all servers: no proxies, no cookies; headers from the environment go to the job's servers alone.

    Raises ValueError for headers of another form, without telling them.
    """
    return aiohttp.ClientSession(
        headers=headers_from(os.environ.get(HEADERS, "")), cookie_jar=aiohttp.DummyCookieJar(), trust_env=False,
        connector=aiohttp.TCPConnector(limit=0),
    )  # fmt: skip


def headers_from(text: str) -> dict[str, str]:
    """Headers of "Name: value" lines."""
    found = {}
    for number, line in enumerate(filter(str.strip, text.splitlines()), 1):
        name, colon, value = line.partition(":")
        if not colon or not name.strip().replace("-", "").isalnum():
            raise ValueError(f"{HEADERS}, line {number}: accepted is 'Name: value'")  # its text may be a secret
        found[name.strip()] = value.strip()
    return found


class Server:
    """A server of the job."""

    def __init__(self, url: str, http: aiohttp.ClientSession, timing: Timing) -> None:
        self.url, self._http, self.timing = url, http, timing

    async def version(self) -> str:
        """ComfyUI's version. Raises ServerGone for anything that is no ComfyUI."""
        stats = await self._json("GET", "/system_stats")
        version = (stats.get("system") or {}).get("comfyui_version") if isinstance(stats, dict) else None
        if not isinstance(version, str):
            raise ServerGone("it answers, but not as ComfyUI does")
        return version[:40]

    async def object_info(self) -> dict[str, Any]:
        """Every node of the server."""
        info = await self._json("GET", "/object_info")
        if not isinstance(info, dict) or not all(isinstance(node, dict) for node in info.values()):
            raise ServerGone("/object_info is not a mapping of nodes")
        return info

    async def send(self, prompt: Mapping, prompt_id: str, client_id: str, targets: list[str], mark: dict) -> str:
        """Queue a prompt for its target nodes; the id that the server gave it, which is ours on all hosts we know.

        Raises Refused with the server's reasons, Busy, ServerGone.
        """
        body = {
            "prompt": prompt, "prompt_id": prompt_id, "client_id": client_id, "partial_execution_targets": targets,
            "extra_data": {UPLOADS: mark},
        }  # fmt: skip
        answer = await self._json("POST", "/prompt", body, also=(400,))
        if not isinstance(answer, dict):
            raise ServerGone("/prompt answers no mapping")
        given = answer.get("prompt_id")
        if answer.get("node_errors") or "error" in answer:
            if isinstance(given, str):  # some of its outputs are fine, and would run
                await self.delete([given])
            raise Refused(_reasons(answer))
        if not isinstance(given, str):
            raise ServerGone("/prompt answers no prompt_id")
        return given

    async def queue(self) -> tuple[dict[str, dict], dict[str, dict]]:
        """(running, pending): prompt id -> the mark that `send` gave it, {} for prompts of others."""
        answer = await self._json("GET", "/queue")
        try:
            return tuple(
                {str(entry[1]): _mark(entry) for entry in answer[part]} for part in ("queue_running", "queue_pending")
            )
        except (KeyError, TypeError, IndexError) as error:
            raise ServerGone("/queue is not a queue") from error

    async def history(self, prompt_id: str) -> dict | None:
        """How a prompt ended; None where the server does not know of it."""
        answer = await self._json("GET", f"/history/{prompt_id}")
        if not isinstance(answer, dict):
            raise ServerGone("/history answers no mapping")
        entry = answer.get(prompt_id)
        if entry is None:
            return None
        if not isinstance(entry, dict) or not isinstance(entry.get("outputs"), dict):
            raise ServerGone("/history has an entry without outputs")
        return entry

    async def found(self, mark: dict) -> str | None:
        """The id of a prompt with this mark, on a server that gives ids of its own."""
        for part in await self.queue():
            for prompt_id, there in part.items():
                if there == mark:
                    return prompt_id
        answer = await self._json("GET", "/history?max_items=500")
        for prompt_id, entry in answer.items() if isinstance(answer, dict) else ():
            if isinstance(entry, dict) and _mark(entry.get("prompt")) == mark:
                return str(prompt_id)
        return None

    async def view(self, image: Mapping[str, Any]) -> bytes:
        """The bytes of a file that a node showed. Raises NotThere, ServerGone."""
        wanted = {key: str(image.get(key, "")) for key in ("filename", "subfolder", "type")}
        return await self._call("GET", "/view", _MOST_FILE, params=wanted)

    async def upload(self, name: str, data: bytes) -> str:
        """Send a file to the server's input; what its loaders call it."""
        form = aiohttp.FormData()
        form.add_field("image", data, filename=name, content_type="application/octet-stream")
        for key, value in (("subfolder", UPLOADS), ("type", "input"), ("overwrite", "true")):
            form.add_field(key, value)
        answer = _parsed(await self._call("POST", "/upload/image", _MOST_JSON, data=form), "/upload/image")
        if not isinstance(answer, dict) or answer.get("name") != name:
            raise ServerGone("/upload/image does not keep the file's name")
        return f"{UPLOADS}/{name}"

    async def delete(self, prompt_ids: list[str]) -> None:
        """Take prompts that do not run yet out of the queue."""
        await self._call("POST", "/queue", _MOST_JSON, json={"delete": prompt_ids})

    async def interrupt(self, prompt_id: str) -> None:
        """Stop a prompt, if it is the one that runs."""
        await self._call("POST", "/interrupt", _MOST_JSON, json={"prompt_id": prompt_id})

    def socket(self, client_id: str):
        """The server's WebSocket, as a context."""
        return self._http.ws_connect(f"{self.url}/ws", params={"clientId": client_id}, heartbeat=20,
                                     max_msg_size=64 << 20)  # fmt: skip

    async def _json(self, method: str, path: str, body: dict | None = None, also: tuple = ()) -> Any:
        sent = {} if body is None else {"json": body}
        return _parsed(await self._call(method, path, _MOST_JSON, also, **sent), path)

    async def _call(self, method: str, path: str, most: int, also: tuple = (), **sent) -> bytes:
        try:
            # No redirects: the headers are for the servers that the job names.
            async with self._http.request(
                method, self.url + path, allow_redirects=False, timeout=self._patience(most), **sent
            ) as answer:
                if answer.status in _BUSY:
                    raise Busy(f"{path} answers {answer.status}")
                if answer.status == 404 and path == "/view":
                    raise NotThere("the server does not have the file any more")
                if answer.status != 200 and answer.status not in also:
                    raise ServerGone(f"{path} answers {answer.status}")
                chunks, size = [], 0
                async for chunk in answer.content.iter_any():
                    size += len(chunk)
                    if size > most:
                        raise ServerGone(f"{path} answers more than {most >> 20} MB")
                    chunks.append(chunk)
                return b"".join(chunks)
        except asyncio.TimeoutError as error:
            raise ServerGone(f"no answer to {path} in {self.timing.answer:g} s") from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise ServerGone(f"{path}: {type(error).__name__}") from error  # its text could tell headers

    def _patience(self, most: int) -> aiohttp.ClientTimeout:
        """One that drips is as good as gone, too: the whole answer has its time, a large one ten times as much."""
        wait = self.timing.answer
        return aiohttp.ClientTimeout(total=wait if most == _MOST_JSON else 10 * wait, sock_connect=wait, sock_read=wait)


def _parsed(data: bytes, path: str) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise ServerGone(f"{path} answers no JSON") from error


def _mark(entry: Any) -> dict:
    extra = entry[3] if isinstance(entry, list) and len(entry) > 3 else None
    mark = extra.get(UPLOADS) if isinstance(extra, dict) else None
    return mark if isinstance(mark, dict) else {}


def _reasons(answer: Mapping) -> str:
    found = [_reason(answer["error"])] if answer.get("error") else []
    errors = answer.get("node_errors")
    for node, refusal in errors.items() if isinstance(errors, dict) else ():
        for error in refusal.get("errors", []) if isinstance(refusal, dict) else ():
            found.append(f"node {node} ({refusal.get('class_type')}): {_reason(error)}")
    return "; ".join(found)[:2000] or "the server refuses the prompt without a reason"


def _reason(error: Any) -> str:
    if not isinstance(error, dict):
        return str(error)
    return ", ".join(str(error[key]) for key in ("message", "details") if error.get(key))
