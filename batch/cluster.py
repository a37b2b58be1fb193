"""ComfyUI on the GPUs of a Ray cluster: an actor per GPU keeps one server alive, the runner feeds them as any other."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from ..errors import Refused, reason
from .client import address_of
from .job import Job
from .ray_host import ComfyHost

_LOCAL = "local"


class Cluster:
    """The servers of a cluster, from `async with` to the end of its block.

    Args:
        job: its `cluster` says how ComfyUI is started: comfyui (folder), python, arguments, actors, gpus (of each).
        address: the cluster's, as `ray.init` takes it; "local": a cluster of this machine alone.

    Raises:
        Refused: ray is not installed, the job has no `cluster`, or the cluster has no room for one actor.
    """

    def __init__(self, job: Job, address: str) -> None:
        if job.cluster is None:
            raise Refused(
                job.path,
                "it has no `cluster`, which a run on Ray needs",
                remedy="add `cluster`, with the folder of ComfyUI on the cluster's machines",
            )
        try:
            import ray
        except ImportError as error:
            raise Refused(
                "ray",
                f"the package cannot be imported ({reason(error)})",
                remedy="run `pip install anomaly-synthesis[cluster]`",
            ) from error
        self._ray, self._how, self._address = ray, job.cluster, address
        self._shown = f"Ray at {address_of(address)}"
        self._actors: list[Any] = []
        self.servers: tuple[str, ...] = ()

    async def __aenter__(self) -> Cluster:
        local = self._address == _LOCAL
        gpus, count = self._how.get("gpus", 1), self._how.get("actors")
        try:
            self._ray.init(
                address=None if local else self._address,
                include_dashboard=False if local else None,
                num_cpus=max(count or 1, 1) if local else None,
                log_to_driver=False,
            )
        except (ConnectionError, RuntimeError, ValueError) as error:
            raise Refused(self._shown, reason(error)) from error
        try:
            count = count or int(self._ray.cluster_resources().get("GPU", 0) // gpus if gpus else 1)
            if count < 1:
                raise Refused(
                    self._shown,
                    "the cluster has no GPU",
                    remedy="for processors alone, set `cluster: {gpus: 0, actors: ..}`",
                )
            host = self._ray.remote(num_gpus=gpus, num_cpus=0 if gpus else 1)(_Actor)
            self._actors = [host.remote(dict(self._how), local) for _ in range(count)]
            self.servers = tuple(await self._urls())
        except BaseException:
            await self.__aexit__()
            raise
        return self

    async def __aexit__(self, *_) -> None:
        with contextlib.suppress(Exception):  # a machine may be gone; Ray ends what is left with its actors
            await asyncio.to_thread(self._ray.get, [actor.stop.remote() for actor in self._actors], timeout=15)
        self._ray.shutdown()

    async def _urls(self) -> list[str]:
        """Of the actors that found room. Raises Refused where none did."""
        asked = [actor.url.remote() for actor in self._actors]
        ready, _ = await asyncio.to_thread(self._ray.wait, asked, num_returns=len(asked), timeout=60)
        try:
            urls = self._ray.get(ready)
        except self._ray.exceptions.RayError as error:
            last = str(error.__cause__ or error).strip().splitlines()[-1]  # Ray puts the actor's traceback before it
            raise Refused(self._shown, f"an actor cannot start ({last})") from error
        if not urls:
            raise Refused(self._shown, "no actor was started in 60 s", remedy="look whether the cluster is full")
        return urls


class _Actor(ComfyHost):
    """`ComfyHost` at the address of the machine that Ray put it on."""

    def __init__(self, how: dict[str, Any], local: bool) -> None:
        if local:
            address = "127.0.0.1"
        else:
            import ray

            address = ray.util.get_node_ip_address()
        super().__init__(how["comfyui"], how.get("python") or sys.executable, how.get("arguments") or [], address)
