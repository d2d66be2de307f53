"""A headless Chromium that a test drives as a person does: it clicks, types, looks and prints.

It speaks the browser's own protocol (Chrome DevTools Protocol) through two pipes: JSON with a zero
byte behind each message.
"""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
_POINTS = """(() => { const box = (%s).getBoundingClientRect();
  return [box.x + Math.min(box.width / 2, 20), box.y + box.height / 2]; })()"""


class Browser:
    def __init__(self, to, back):
        self._to, self._back, self._number, self._session = to, back, 0, None
        self.complaints = []
        (target,) = [
            one for one in self.call("Target.getTargets")["targetInfos"] if one["type"] == "page"
        ]
        asked = {"targetId": target["targetId"], "flatten": True}
        self._session = self.call("Target.attachToTarget", asked)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, asked=None):
        self._number += 1
        message = {"id": self._number, "method": method, "params": asked or {}}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        return self._until(lambda said: said.get("id") == self._number)["result"]

    def _until(self, is_it):
        while True:
            text = b""
            while not text.endswith(b"\0"):
                one = self._back.read(1) if self._back.peek(1) == b"" else self._line()
                assert one, "chromium has ended"
                text += one
            said = json.loads(text[:-1])
            assert "error" not in said, said
            if said.get("method") in ("Runtime.exceptionThrown", "Log.entryAdded"):
                self.complaints.append(said["params"])
            if is_it(said):
                return said

    def _line(self):
        ready = self._back.peek()
        return self._back.read((ready.index(b"\0") if b"\0" in ready else len(ready) - 1) + 1)

    def open(self, url, width=1280, height=900, dark=False):
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        self.call("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", {"features": [scheme]})
        self.call("Page.navigate", {"url": url})
        self._until(lambda said: said.get("method") == "Page.loadEventFired")

    def ask(self, expression):
        asked = {"expression": expression, "returnByValue": True}
        done = self.call("Runtime.evaluate", asked)
        assert "exceptionDetails" not in done, done
        return done["result"].get("value")

    def click(self, element):
        """Press the mouse where an element is; ``element`` is an expression."""
        self.ask(f"({element}).scrollIntoView({{block: 'center'}})")
        x, y = self.ask(_POINTS % element)
        for kind in ("mousePressed", "mouseReleased"):
            asked = {"type": kind, "x": x, "y": y, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", asked)

    def type(self, text):
        self.call("Input.insertText", {"text": text})

    def picture(self, path, whole=True):
        done = self.call("Page.captureScreenshot", {"captureBeyondViewport": whole})
        path.write_bytes(base64.b64decode(done["data"]))

    def print(self, path):
        done = self.call("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
        path.write_bytes(base64.b64decode(done["data"]))


@contextmanager
def browser(folder):
    """A browser whose profile lies in this folder."""
    from_us, to = os.pipe()
    back, to_us = os.pipe()
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", "--remote-debugging-pipe"]
    shell = f'exec "$@" 3<&{from_us} 4>&{to_us}'
    with (folder / "chromium.log").open("wb") as log:
        run = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command],
            pass_fds=(from_us, to_us),
            stdout=log,
            stderr=log,
        )
    os.close(from_us)
    os.close(to_us)
    with os.fdopen(to, "wb") as writer, os.fdopen(back, "rb", buffering=1 << 20) as reader:
        try:
            opened = Browser(writer, reader)
            yield opened
            opened._session = None
            opened.call("Browser.close")
        finally:
            try:
                run.wait(timeout=20)
            except subprocess.TimeoutExpired:
                run.kill()
                run.wait()
