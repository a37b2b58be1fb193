"""A simulated ComfyUI that makes pairs without a model, and misbehaves on demand."""

from __future__ import annotations

import asyncio
import io
import json
import threading
import uuid
from collections import deque

import numpy as np
from aiohttp import web
from PIL import Image, PngImagePlugin


def _node(inputs: dict, outputs: list[tuple[str, str]], output_node: bool = False, display: str | None = None) -> dict:
    return {
        "input": {"required": inputs},
        "output": [kind for _, kind in outputs],
        "output_name": [name for name, _ in outputs],
        "output_node": output_node,
        "display_name": display,
    }


OBJECT_INFO = {
    "MakePair": _node(
        {
            "seed": ["INT", {"min": 0, "max": 2**64 - 1, "control_after_generate": True}],
            "size": ["INT", {"min": 1, "max": 512}],
            "type": ["STRING", {}],
            "model": ["COMBO", {"options": ["small.safetensors", "large.safetensors"]}],
        },
        [("image", "IMAGE"), ("mask", "MASK"), ("normal", "IMAGE"), ("words", "STRING")],
        display="Make Pair",
    ),
    "LoadImage": _node(
        {"image": [["example.png"], {"image_upload": True}]},
        [("IMAGE", "IMAGE"), ("MASK", "MASK")],
        display="Load Image",
    ),
    "PreviewImage": _node({"images": ["IMAGE"]}, [], True, "Preview Image"),
    "SaveImage": _node({"images": ["IMAGE"], "filename_prefix": ["STRING", {}]}, [], True, "Save Image"),
    "MaskToImage": _node({"mask": ["MASK"]}, [("IMAGE", "IMAGE")], display="Convert Mask to Image"),
    "PreviewAny": _node({"source": ["*", {}]}, [("STRING", "STRING")], True, "Preview as Text"),
}
HISTORY = 1000  # prompts
PROMPT = {
    "1": {"class_type": "MakePair", "inputs": {"seed": 0, "size": 24, "type": "scratch", "model": "small.safetensors"}},
    "2": {
        "class_type": "SaveImage",
        "inputs": {"images": ["1", 0], "filename_prefix": "x"},
        "_meta": {"title": "Result"},
    },
}


class Simulated:
    """One server on a thread of its own, from `with` to the end of the block; its attributes may be set at any time.

    delay: seconds a prompt takes; hang: answers nothing; garbage: answers text to these paths; refuse: the status that
    /prompt answers; full: prompts that it queues at most; own_ids: gives prompts ids of its own; fails: seeds that
    raise; kills: seeds that bring it down; stuck: seeds that never end; odd: seed -> a wrong result, which is "size",
    "normal", "empty", "blank", "two", "text" or "damaged"; lose_answers: /prompt queues, then cuts the connection, so
    many times; redirect: path -> (status, address), answered instead; histories: seed -> a function of a history
    entry that returns what is answered, as JSON or as bytes; views: seed -> a function of a request for one of its
    pictures that returns the answer.
    """

    def __init__(self, delay: float = 0.0, port: int = 0) -> None:
        self.delay, self.port = delay, port
        self.hang, self.refuse, self.full, self.own_ids, self.lose_answers = False, None, None, False, 0
        self.garbage, self.fails, self.kills, self.stuck, self.odd = set(), set(), set(), set(), {}
        self.redirect, self.histories, self.views = {}, {}, {}
        self.grain = 256  # levels of the pictures' noise
        self.info, self.version = OBJECT_INFO, "0.33.0"
        self.ran, self.uploads, self.headers = [], {}, deque(maxlen=10_000)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Simulated:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.start()
        return self

    def __exit__(self, *_) -> None:
        self.kill()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    def start(self) -> None:
        """Start with an empty queue and history, on the same port as before."""
        self._do(self._start())

    def kill(self) -> None:
        """Stop at once and cut all connections."""
        self._do(self._kill())

    def restart(self) -> None:
        self.kill()
        self.start()

    def drop_sockets(self) -> None:
        """Close every WebSocket."""
        self._do(self._drop())

    def clear_queue(self) -> None:
        """Clear the queue, as another client would."""
        self._loop.call_soon_threadsafe(self._pending.clear)

    def fill(self, count: int) -> None:
        """Queue `count` prompts of another client, which take `delay` each."""
        for _ in range(count):
            entry = [0, str(uuid.uuid4()), {}, {}, []]
            self._loop.call_soon_threadsafe(self._pending.append, entry)

    def _do(self, coroutine) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(20)

    async def _start(self) -> None:
        self._pending, self._running, self._history, self._files, self._made_by = [], [], {}, {}, {}
        self._sockets: dict[str, web.WebSocketResponse] = {}
        app = web.Application(client_max_size=1 << 28, middlewares=[self._mood])
        app.add_routes(
            [
                web.get("/system_stats", self._stats),
                web.get("/object_info", self._object_info),
                web.get("/queue", self._queue),
                web.post("/queue", self._post_queue),
                web.post("/prompt", self._prompt),
                web.get("/history", self._get_history),
                web.get("/history/{id}", self._get_history),
                web.get("/view", self._view),
                web.post("/upload/image", self._upload),
                web.post("/interrupt", self._interrupt),
                web.get("/ws", self._socket),
            ]
        )
        self._app = web.AppRunner(app, shutdown_timeout=0.05)
        await self._app.setup()
        site = web.TCPSite(self._app, "127.0.0.1", self.port, reuse_address=True)
        await site.start()
        self.port = self.port or site._server.sockets[0].getsockname()[1]
        self._worker = asyncio.ensure_future(self._work())

    async def _kill(self) -> None:
        self._worker.cancel()
        for connection in list(self._app.server.connections):
            if connection.transport:
                connection.transport.abort()
        await self._app.cleanup()

    async def _drop(self) -> None:
        for socket in list(self._sockets.values()):
            await socket.close()

    @web.middleware
    async def _mood(self, request, handler):
        self.headers.append(dict(request.headers))
        if self.hang:
            await asyncio.sleep(3600)
        first = "/" + request.path.split("/")[1]
        if first in self.redirect:
            status, address = self.redirect[first]
            return web.Response(status=status, headers={"Location": address + request.path})
        if first in self.garbage:
            return web.Response(text="<html>hello</html>")
        return await handler(request)

    async def _stats(self, _):
        return web.json_response({"system": {"comfyui_version": self.version}, "devices": []})

    async def _object_info(self, _):
        return web.json_response(self.info)

    async def _queue(self, _):
        return web.json_response({"queue_running": self._running, "queue_pending": self._pending})

    async def _post_queue(self, request):
        wanted = (await request.json()).get("delete", [])
        self._pending[:] = [entry for entry in self._pending if entry[1] not in wanted]
        return web.Response()

    async def _prompt(self, request):
        body = await request.json()
        if self.refuse:
            return web.json_response({"error": {"message": "no"}}, status=self.refuse)
        if self.full is not None and len(self._pending) >= self.full:
            return web.Response(status=503)
        for node in body["prompt"].values():
            if node["class_type"] not in self.info:
                error = {"type": "missing_node_type", "message": f"no {node['class_type']}", "details": ""}
                return web.json_response({"error": error, "node_errors": {}}, status=400)
        prompt_id = str(uuid.uuid4()) if self.own_ids else body["prompt_id"]
        extra = {**body.get("extra_data", {}), "client_id": body.get("client_id")}
        self._pending.append([len(self._history), prompt_id, body["prompt"], extra, body["partial_execution_targets"]])
        if self.lose_answers:
            self.lose_answers -= 1
            request.transport.abort()
        return web.json_response({"prompt_id": prompt_id, "number": 1, "node_errors": {}})

    async def _get_history(self, request):
        wanted = request.match_info.get("id")
        if wanted is None:
            return web.json_response(self._history)
        if wanted not in self._history:
            return web.json_response({})
        entry = self._history[wanted]
        bend = self.histories.get(self._seed(entry["prompt"][2]))
        answer = bend(json.loads(json.dumps(entry))) if bend else entry
        return web.Response(body=answer) if isinstance(answer, bytes) else web.json_response({wanted: answer})

    async def _view(self, request):
        name = request.query["filename"]
        if self._made_by.get(name) in self.views:
            return await self.views[self._made_by[name]](request)
        data = self._files.get(name)
        return web.Response(status=404) if data is None else web.Response(body=data)

    async def _upload(self, request):
        post = await request.post()
        self.uploads[post["image"].filename] = post["image"].file.read()
        return web.json_response({"name": post["image"].filename, "subfolder": post["subfolder"], "type": "input"})

    async def _interrupt(self, request):
        wanted = (await request.json()).get("prompt_id")
        if self._running and self._running[0][1] == wanted:
            self._stop.set()
        return web.Response()

    async def _socket(self, request):
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        self._sockets[request.query["clientId"]] = socket
        await socket.send_str("this is no JSON")
        await socket.send_bytes(b"\x00\x01")
        async for _ in socket:
            pass
        return socket

    async def _tell(self, entry, kind: str, **data) -> None:
        socket = self._sockets.get(entry[3].get("client_id"))
        if socket is not None and not socket.closed:
            await socket.send_str(json.dumps({"type": kind, "data": {"prompt_id": entry[1], **data}}))

    async def _work(self) -> None:
        while True:
            if not self._pending:
                await asyncio.sleep(0.002)
                continue
            entry = self._pending.pop(0)
            self._running, self._stop = [entry], asyncio.Event()
            await self._tell(entry, "execution_start")
            seed = next((n["inputs"].get("seed") for n in entry[2].values() if n["class_type"] == "MakePair"), None)
            seed = seed if isinstance(seed, int) else None
            try:
                wait = 3600 if seed in self.stuck else self.delay
                if wait:
                    await asyncio.wait_for(self._stop.wait(), wait)
                stopped = self._stop.is_set()
            except asyncio.TimeoutError:
                stopped = False
            if seed in self.kills:
                for connection in list(self._app.server.connections):
                    connection.transport.abort()
                self._pending, self._history = [], {}
                self._running = []
                continue
            self._remember(entry, self._end(entry, seed, stopped))
            self._running = []
            if seed is not None:
                self.ran.append(seed)
            await self._tell(entry, "executing", node=None)

    def _remember(self, entry, end: dict) -> None:
        """Keep how a prompt ended, and forget the oldest with its files, as a host does."""
        self._history[entry[1]] = {"prompt": entry, **end}
        if len(self._history) > HISTORY:
            oldest = self._history.pop(next(iter(self._history)))
            for output in oldest["outputs"].values():
                for image in output.get("images", []):
                    self._files.pop(image["filename"], None)

    def _end(self, entry, seed, stopped: bool) -> dict:
        if stopped:
            return {"outputs": {}, "status": {"status_str": "error", "messages": [["execution_interrupted", {}]]}}
        if seed in self.fails:
            return _failed(ValueError("bad"))
        times = [["execution_start", {"timestamp": 1000}], ["execution_success", {"timestamp": 3500}]]
        try:
            outputs = {id: self._output(entry[2], id) for id in entry[4]}
        except Exception as error:  # of values that no node accepts; a real host goes on as well
            return _failed(error)
        return {"outputs": outputs, "status": {"status_str": "success", "messages": times}}

    def _output(self, prompt: dict, id: str) -> dict:
        node = prompt[id]
        link = node["inputs"].get("images") or node["inputs"].get("source")
        value = self._value(prompt, link)
        if node["class_type"] == "PreviewAny":
            return {"text": [value]}
        name = f"../../../etc/{uuid.uuid4()}.png"  # a client must not make a path of it
        self._files[name], self._made_by[name] = value, self._seed(prompt)
        count = 2 if self.odd.get(self._seed(prompt)) == "two" else 1
        return {"images": [{"filename": name, "subfolder": "..", "type": "temp"}] * count}

    def _seed(self, prompt: dict):
        seeds = (n["inputs"].get("seed") for n in prompt.values() if n["class_type"] == "MakePair")
        return next((seed for seed in seeds if isinstance(seed, int)), None)

    def _value(self, prompt: dict, link: list):
        node, slot = prompt[link[0]], link[1]
        if node["class_type"] == "MaskToImage":
            return self._value(prompt, node["inputs"]["mask"])
        inputs, odd = node["inputs"], self.odd.get(self._seed(prompt))
        if slot == 3:
            return f"made {inputs['type']}"
        rng = np.random.default_rng(inputs["seed"] % 2**63)
        size = inputs["size"]
        normal = rng.integers(0, self.grain, (size, size, 3), dtype=np.uint8)
        mask = np.zeros((size, size), np.uint8)
        mask[size // 4 : size // 2, 2 : size // 2] = 0 if odd == "empty" else 255
        if odd == "size" and slot == 1:
            mask = mask[:-1]
        if odd == "normal" and slot == 2:
            normal = normal[:, :-1]
        if odd == "text":
            return b"this is no image"
        changed = odd not in ("size", "normal", "empty", "blank")
        image = np.where(mask[..., None] > 0, 255 - normal, normal) if changed else normal
        made = _png([image, mask, normal][slot])
        if odd == "damaged":  # the last byte of the pixels' check sum, before the 12 bytes of the end
            return made[:-13] + bytes([made[-13] ^ 1]) + made[-12:]
        return made


def _failed(error: Exception) -> dict:
    message = {
        "node_id": "1",
        "node_type": "MakePair",
        "exception_type": type(error).__name__,
        "exception_message": str(error),
    }
    return {"outputs": {}, "status": {"status_str": "error", "messages": [["execution_error", message]]}}


def _png(values: np.ndarray) -> bytes:
    """With a comment that differs each time, as a host writes the prompt into its pictures."""
    buffer, comment = io.BytesIO(), PngImagePlugin.PngInfo()
    comment.add_text("prompt", str(uuid.uuid4()))
    Image.fromarray(values).save(buffer, "PNG", pnginfo=comment)
    return buffer.getvalue()
