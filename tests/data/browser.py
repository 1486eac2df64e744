"""A real browser for tests: Chromium, headless, driven over its DevTools pipe (NUL-separated JSON on descriptors 3, 4).

https://chromedevtools.github.io/devtools-protocol/ has the methods' names.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import select
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

from tests.conftest import unavailable

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Browser:
    """One browser process; pages are opened in it. A context manager."""

    def __init__(self) -> None:
        found = next(filter(None, map(shutil.which, NAMES)), None)
        if found is None:
            unavailable(f"no headless browser: none of {', '.join(NAMES)} is installed")
            raise AssertionError
        self._program = found
        self._number = 0
        self._buffer = b""
        self._pages: dict[str, Page] = {}

    def __enter__(self) -> Browser:
        self._folder = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        to_read, self._write = os.pipe()
        self._read, to_write = os.pipe()
        # As root Chromium has no sandbox; the pages are our own files.
        options = ["--no-sandbox"] if os.geteuid() == 0 else []
        command = [
            self._program,
            "--headless=new",
            "--remote-debugging-pipe",
            "--disable-gpu",
            "--no-first-run",
            "--disable-background-networking",
            f"--user-data-dir={self._folder.name}",
            *options,
            "about:blank",
        ]
        # Chromium reads from 3 and writes to 4, whatever the pipes' numbers are here.
        ends = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (to_read, to_write)]

        def place() -> None:
            os.dup2(ends[0], 3)
            os.dup2(ends[1], 4)

        self._process = subprocess.Popen(
            command,
            preexec_fn=place,
            pass_fds=(3, 4),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (*ends, to_read, to_write):
            os.close(end)
        return self

    def __exit__(self, *exc: object) -> None:
        os.close(self._write)
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._read)
        self._folder.cleanup()

    def open(self, url: str, width: int = 1280, height: int = 900) -> Page:
        """A page that has loaded."""
        target = self.call("", "Target.createTarget", url="about:blank")["targetId"]
        session = self.call("", "Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session, target, url)
        for domain in ("Page", "Runtime", "Log", "Network"):
            page.call(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
        page.call("Emulation.setDeviceMetricsOverride", **size)
        page.call("Page.navigate", url=url)
        page.wait("document.readyState === 'complete' && location.href !== 'about:blank'")
        return page

    def call(self, session: str, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, (method, answer["error"])
                return dict(answer["result"])
            page = self._pages.get(answer.get("sessionId", ""))
            if page is not None:
                page.note(answer)

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._read], [], [], 60)
            assert ready, "the browser does not answer"
            part = os.read(self._read, 1 << 20)
            assert part, f"the browser ended with {self._process.wait()}"
            self._buffer += part
        line, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(line))


class Page:
    """One page.

    Attributes:
        troubles: what the console and the page complained of, and every request for anything but the file itself.
    """

    def __init__(self, browser: Browser, session: str, target: str, url: str) -> None:
        self.troubles: list[str] = []
        self._browser, self._session, self._target, self._url = browser, session, target, url

    def close(self) -> None:
        self._browser.call("", "Target.closeTarget", targetId=self._target)

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.call(self._session, method, **parameters)

    def evaluate(self, expression: str) -> Any:
        """A JavaScript expression's value."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def wait(self, expression: str, seconds: float = 60) -> None:
        """Until an expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(expression):
            assert time.monotonic() < end, f"never came true: {expression}"
            time.sleep(0.02)

    def click(self, selector: str) -> None:
        """A real click on the middle of an element."""
        box = self.evaluate(
            f"(() => {{ const node = document.querySelector({json.dumps(selector)});"
            "node.scrollIntoView({block: 'center'}); const box = node.getBoundingClientRect();"
            "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
        )
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            where = {"x": box[0], "y": box[1], "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", type=kind, **where)

    def key(self, key: str) -> None:
        """A key pressed and let go."""
        text = {"Enter": "\r"}.get(key, key if len(key) == 1 else "")
        code = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, "Tab": 9, "Enter": 13}
        pressed = {"key": key, "windowsVirtualKeyCode": code.get(key, ord(key[0]))}
        self.call("Input.dispatchKeyEvent", type="keyDown", text=text, **pressed)
        self.call("Input.dispatchKeyEvent", type="keyUp", **pressed)

    def screenshot(self, path: Path, whole: bool = False) -> None:
        """PNG of what is seen, or of the whole page."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def note(self, event: dict[str, Any]) -> None:
        """Keeps what is worth complaining of."""
        facts = event.get("params", {})
        match event.get("method"):
            case "Runtime.exceptionThrown":
                self.troubles.append(f"exception: {facts['exceptionDetails'].get('text')}")
            case "Runtime.consoleAPICalled":
                self.troubles.append(f"console.{facts['type']}: {facts['args']}")
            case "Log.entryAdded":
                self.troubles.append(f"{facts['entry']['level']}: {facts['entry']['text']}")
            case "Network.requestWillBeSent":
                url = facts["request"]["url"]
                if url.partition("#")[0] != self._url.partition("#")[0]:
                    self.troubles.append(f"request: {url}")
