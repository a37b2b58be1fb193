"""ComfyUI's page in a headless browser, driven through its own scripts."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from typing import Any

from .server import RUN, Server, cached, succeeded

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# ComfyUI opens its default graph by itself; what is loaded before that would be lost.
READY = "window.app?.graph?.nodes.length && app.extensionManager && !app.extensionManager.spinner"
FIT = """() => {
    const boxes = [...app.graph.nodes, ...app.graph.groups].map(item => item.boundingRect)
    const left = Math.min(...boxes.map(box => box[0])), right = Math.max(...boxes.map(box => box[0] + box[2]))
    const top = Math.min(...boxes.map(box => box[1])), bottom = Math.max(...boxes.map(box => box[1] + box[3]))
    const width = Math.max(right - left, 1000), height = Math.max(bottom - top, 600)  // no giant for a small graph
    app.canvas.ds.fitToBounds([(left + right - width) / 2, (top + bottom - height) / 2, width, height], { zoom: 0.8 })
    app.canvas.setDirty(true, true)
}"""
# A node loads its images only when it is drawn.
DRAWN = """ids => ids.every(id => {
    const images = app.graph.getNodeById(id)?.imgs
    return images?.length && images.every(image => image.complete)
})"""
# The help page, or what ComfyUI derives from the schema without one.
HELP = """() => document.querySelector('.node-help-content :is(.markdown-content, .fallback-content) > *')
    && [...document.querySelectorAll('.node-help-content img')].every(image => image.complete)"""
BANNER = "[data-testid=queue-notification-banner] { visibility: hidden }"  # "Job queued" stays for seconds


def find_browser() -> str | None:
    """Path of a browser, if Playwright is there to drive it."""
    if not importlib.util.find_spec("playwright"):
        return None
    return next(filter(None, map(shutil.which, BROWSERS)), None)


class Page:
    """One tab with ComfyUI and an empty graph; `tab` is Playwright's page, for what has no method here."""

    def __init__(self, tab, server: Server):
        self.tab, self._server = tab, server
        self._shown: list[str] = []  # ids of the nodes that show images since the last run
        tab.goto(server.url, wait_until="domcontentloaded", timeout=120_000)
        tab.wait_for_function(READY, timeout=120_000)
        tab.evaluate("() => app.graph.clear()")

    def load_workflow(self, workflow: dict, name: str = "workflow"):
        """Opens a workflow in the browser's own format."""
        self.tab.evaluate("([workflow, name]) => app.loadGraphData(workflow, true, true, name)", [workflow, name])

    def load_prompt(self, prompt: dict, name: str = "prompt"):
        """Opens a prompt in the API's format; ComfyUI places the nodes itself."""
        self.tab.evaluate("([prompt, name]) => app.loadApiJson(prompt, name)", [prompt, name])

    def workflow(self) -> dict:
        """The graph as it would be saved."""
        return json.loads(self.tab.evaluate("() => JSON.stringify(app.graph.serialize())"))

    def prompt(self) -> dict:
        """The graph in the API's format, as it would be queued."""
        return json.loads(self.tab.evaluate("async () => JSON.stringify((await app.graphToPrompt()).output)"))

    def export(self, command: str, path: Path):
        """Saves the file that a command of the page's menu downloads, such as Comfy.ExportWorkflowAPI."""
        # Without this setting the page asks for a file name.
        self.tab.evaluate("() => app.extensionManager.setting.set('Comfy.PromptFilename', false)")
        with self.tab.expect_download() as got:
            self.tab.evaluate("command => app.extensionManager.command.execute(command)", command)
        got.value.save_as(path)

    def alerts(self) -> list[str]:
        """The texts of the messages and dialogs that lie over the page now."""
        self.tab.wait_for_timeout(500)  # they appear a little later than their cause
        return self.tab.locator(".p-toast-message, .p-dialog, [data-testid=error-overlay]").all_inner_texts()

    def run(self, timeout: float = RUN) -> dict:
        """Queues the graph as the Run button does; the history entry of its success."""
        with self.tab.expect_response(lambda sent: sent.request.method == "POST" and "/prompt" in sent.url) as got:
            self.tab.evaluate("() => app.queuePrompt(0, 1)")
        answer: Any = got.value.json()
        assert got.value.ok, f"ComfyUI refused:\n{answer}"
        entry = succeeded(self._server.wait(answer["prompt_id"], timeout))
        # What comes from the cache is in the history, but older hosts do not report it to the page.
        with_images = [node for node, output in entry["outputs"].items() if output.get("images") and ":" not in node]
        self._shown = [node for node in with_images if node not in cached(entry)]
        return entry

    def open_help(self, node_id: str):
        """Opens the help page of one of this pack's nodes, given its id in the graph; the panel's content, which as a
        Playwright locator has a `screenshot` of its own."""
        kind = self.tab.evaluate("id => app.graph.getNodeById(id).type", node_id)
        self.tab.evaluate(FIT)  # a click needs the node in view
        with self.tab.expect_response(lambda answer: answer.url.endswith(f"/docs/{kind}.md")):
            self.tab.evaluate("id => app.canvas.selectItems([app.graph.getNodeById(id)])", node_id)
            self.tab.get_by_test_id("info-button").click()
        self.tab.wait_for_function(HELP, timeout=30_000)
        return self.tab.locator(".node-help-content")

    def screenshot(self, path: Path):
        """The whole page, with the view fitted to the graph."""
        self.tab.evaluate(FIT)
        self.tab.wait_for_function(DRAWN, arg=self._shown, timeout=30_000)
        self.tab.wait_for_timeout(500)
        self.tab.evaluate(FIT)  # nodes grow with their images
        self.tab.wait_for_timeout(500)
        self.tab.screenshot(path=path, style=BANNER)
