"""A real ComfyUI of the tests' own: it is started with the pack in custom_nodes and used through its HTTP API."""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

PACK = "anomaly-synthesis"  # the folder's name in custom_nodes; no dots, for the help pages' addresses
START, RUN = 240, 600  # seconds; 10 to 20 are usual for both, but the machine may be busy

# A proxy in the environment must not catch what goes to this machine.
_open = urllib.request.build_opener(urllib.request.ProxyHandler({})).open


def _die_with_parent():
    """Linux ends the server when pytest ends, also when pytest is killed and no fixture is torn down."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG


class Server:
    """Runs from `with` to the end of its block, in a base folder that holds models, input, output and the rest."""

    def __init__(self, host: Path, python: str, repository: Path, base: Path):
        self.host, self.base, self._python = host, base, python
        self.models, self.input, self.output = base / "models", base / "input", base / "output"
        for folder in (self.models, self.input, self.output, base / "custom_nodes", base / "user" / "default"):
            folder.mkdir(parents=True)
        (base / "custom_nodes" / PACK).symlink_to(repository)
        # Else the template browser covers the first page that a browser opens, and a minimap part of the graph.
        settings = {"Comfy.TutorialCompleted": True, "Comfy.Minimap.Visible": False, "Comfy.Graph.CanvasInfo": False}
        (base / "user" / "default" / "comfy.settings.json").write_text(json.dumps(settings))

    def __enter__(self) -> Server:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        command = [
            self._python,
            "main.py",
            "--cpu",
            "--listen",
            "127.0.0.1",
            "--port",
            str(port),
            "--disable-auto-launch",
            "--disable-api-nodes",
            "--preview-method",
            "none",
            "--base-directory",
            str(self.base),
            "--database-url",
            f"sqlite:///{self.base}/comfyui.db",
        ]
        # The database is a file: 0.3.64 uses it from several threads, which a database in memory does not support.
        with (self.base / "server.log").open("w") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.host,
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
                preexec_fn=_die_with_parent if sys.platform == "linux" else None,
            )
        try:
            end = time.monotonic() + START
            while not self._answers():
                self._check(time.monotonic() < end, f"no answer after {START} s")
                time.sleep(0.2)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        with contextlib.suppress(ProcessLookupError):  # it may have ended by itself
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    @property
    def log(self) -> str:
        """All that the server has printed."""
        return (self.base / "server.log").read_text(errors="replace")

    def object_info(self) -> dict:
        """The definition of every node as the browser gets it, by id."""
        return self._call("/object_info")

    def queue(self, prompt: dict) -> str:
        """The id of an API-format prompt that the server took whole."""
        answer = self._post(prompt)
        assert "prompt_id" in answer and not answer["node_errors"], f"ComfyUI refused:\n{_readable(answer)}"
        return answer["prompt_id"]

    def refused(self, prompt: dict) -> dict[str, str]:
        """Why a prompt is not valid: a text per node id, and the server's summary under "prompt"."""
        answer = self._post(prompt)
        assert "error" in answer, "ComfyUI took a prompt that it should have refused"
        return _errors(answer)

    def wait(self, prompt_id: str, timeout: float = RUN) -> dict:
        """The prompt's history entry once it has ended, however it ended."""
        end = time.monotonic() + timeout
        while not (history := self._call(f"/history/{prompt_id}")):
            if time.monotonic() > end:
                self._call("/interrupt", {"prompt_id": prompt_id})  # the next test should find the server idle
                self._check(False, f"prompt not done after {timeout} s")
            time.sleep(0.1)
        return history[prompt_id]

    def run(self, prompt: dict, timeout: float = RUN) -> dict:
        """The history entry of a prompt that succeeds."""
        return succeeded(self.wait(self.queue(prompt), timeout))

    def failed(self, prompt: dict, timeout: float = RUN) -> str:
        """The exception that stops a valid prompt, as "Type: message"."""
        entry = self.wait(self.queue(prompt), timeout)
        error = _message(entry, "execution_error")
        assert error, f"the prompt should have failed, but ended with {entry['status']['status_str']}"
        return f"{error['exception_type']}: {error['exception_message'].strip()}"

    def interrupt(self, prompt_id: str, after: float = 0.5, timeout: float = 60) -> dict:
        """Stops a prompt once it has been running for some seconds, and returns its history entry; fails if the
        prompt got to its end instead."""
        while prompt_id not in [job[1] for job in self._call("/queue")["queue_running"]]:
            assert not self._call(f"/history/{prompt_id}"), "the prompt ended before it could be interrupted"
            time.sleep(0.02)
        time.sleep(after)  # never 0: ComfyUI clears the flag when it starts on a prompt
        self._call("/interrupt", {"prompt_id": prompt_id})
        entry = self.wait(prompt_id, timeout)
        assert _message(entry, "execution_interrupted"), f"not interrupted: {entry['status']['status_str']}"
        return entry

    def images(self, entry: dict) -> list[Path]:
        """The files of the images that a run's nodes show, in the order of the nodes."""
        shown = [image for output in entry["outputs"].values() for image in output.get("images", [])]
        return [self.base / image["type"] / image["subfolder"] / image["filename"] for image in shown]

    def _answers(self) -> bool:
        self._check(self._process.poll() is None, "the process ended")
        try:
            return bool(self._call("/system_stats"))
        except OSError:
            return False

    def _post(self, prompt: dict) -> dict:
        try:
            return self._call("/prompt", {"prompt": prompt})
        except urllib.error.HTTPError as refusal:
            return json.loads(refusal.read())

    def _call(self, path: str, data: dict | None = None):
        body = None if data is None else json.dumps(data).encode()
        request = urllib.request.Request(self.url + path, body, {"Content-Type": "application/json"})
        with _open(request, timeout=60) as answer:
            return json.loads(answer.read() or "null")

    def _check(self, fine: bool, what: str):
        assert fine, f"ComfyUI at {self.host}: {what}\n{self.log[-3000:]}"


def cached(entry: dict) -> list[str]:
    """Ids of the nodes that a run took from the cache."""
    return sorted(_message(entry, "execution_cached")["nodes"])


def succeeded(entry: dict) -> dict:
    """The history entry itself, if its run succeeded."""
    if entry["status"]["status_str"] != "success":
        error = _message(entry, "execution_error")
        raise AssertionError("".join(error["traceback"]) + error["exception_message"] if error else entry["status"])
    return entry


def _message(entry: dict, kind: str) -> dict | None:
    return next((data for name, data in entry["status"]["messages"] if name == kind), None)


def _errors(answer: dict) -> dict[str, str]:
    found = {"prompt": _line(answer["error"])} if "error" in answer else {}
    for node, refusal in dict(answer["node_errors"]).items():
        found[node] = "\n".join(_line(error) for error in refusal["errors"])
    return found


def _line(error: dict) -> str:
    return f"{error['message']}: {error['details']}"


def _readable(answer: dict) -> str:
    return "\n".join(f"{node}: {text}" for node, text in _errors(answer).items())
