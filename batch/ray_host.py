"""One ComfyUI process that is watched: started on a machine of a cluster, and started again when it dies."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

from ..errors import Refused

_PAUSE = 2.0  # seconds before a process that died is started again


class ComfyHost:
    """A Ray actor's inside. ComfyUI listens at `address` on a port of its own, which it keeps through restarts.

    Args:
        comfyui: ComfyUI's folder; python: its interpreter; arguments: more of main.py's.
        address: of this machine, as the driver reaches it.

    Raises:
        Refused: the folder is no ComfyUI.
    """

    def __init__(self, comfyui: str, python: str, arguments: list[str], address: str) -> None:
        folder = Path(comfyui)
        if not (folder / "main.py").is_file():
            raise Refused("cluster.comfyui", f"{comfyui} has no main.py on {socket.gethostname()}")
        with socket.socket() as free:
            free.bind((address, 0))
            self._port = free.getsockname()[1]
        self._address, self._ending = address, threading.Event()
        self._own = Path(tempfile.mkdtemp(prefix="anomaly-synthesis-"))
        self._log = self._own / "comfyui.log"
        # Several may share ComfyUI's folder: one that starts empties its temporary folder, which has the results of
        # all, and is refused a database that another one uses. A list, no shell: nothing in the job file is more than
        # an argument.
        self._command = [
            python,
            "main.py",
            "--listen",
            address,
            "--port",
            str(self._port),
            "--disable-auto-launch",
            "--temp-directory",
            str(self._own),
            "--database-url",
            f"sqlite:///{self._own}/comfyui.db",
            *map(str, arguments),
        ]
        self._folder, self._process = folder, None
        # Linux ends a child with the thread that made it, so one thread makes them all.
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def url(self) -> str:
        """Where the server is, or will be."""
        return f"http://{self._address}:{self._port}"

    def log(self) -> str:
        """The end of what ComfyUI has printed."""
        return self._log.read_text(errors="replace")[-3000:] if self._log.exists() else ""

    def pid(self) -> int | None:
        """Of the process that runs now."""
        return self._process.pid if self._process else None

    def stop(self) -> None:
        """End the process, for good, and remove what was its own: log, database, temporary pictures."""
        self._ending.set()
        self._kill()
        self._thread.join(10)
        shutil.rmtree(self._own, ignore_errors=True)

    def _watch(self) -> None:
        while not self._ending.is_set():
            with self._log.open("a") as log:
                self._process = subprocess.Popen(
                    self._command,
                    cwd=self._folder,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,
                    preexec_fn=_die_with_parent if sys.platform == "linux" else None,
                )
            if self._ending.is_set():  # `stop` came while it was started
                self._kill()
            self._process.wait()
            self._ending.wait(_PAUSE)

    def _kill(self) -> None:
        if self._process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)


def _die_with_parent() -> None:
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1: PR_SET_PDEATHSIG
