"""A headless Chromium controlled over two pipes with the DevTools protocol, without a driver or a port."""

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

NAMES = ("chromium", "chromium-browser", "google-chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)
KEY_CODES = {"ArrowLeft": 37, "ArrowUp": 38, "ArrowRight": 39, "ArrowDown": 40, " ": 32, ".": 190}


def program() -> str:
    """The path of Chromium; without one the test fails and names the remedy."""
    path = next(filter(None, map(shutil.which, NAMES)), None)
    assert path, f"none of {', '.join(NAMES)} is on PATH. Run `apt-get install chromium`."
    return path


class Chromium:
    """One tab of a browser with its own profile; `errors` are the errors and warnings of its pages."""

    def __init__(self, profile: Path, width: int, height: int, touch: bool = False) -> None:
        command = [program(), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe", "about:blank"]
        reading, self._out = _pipe()
        self._in, writing = _pipe()
        # DevTools reads file 3 and writes file 4.
        shell = f'exec "$@" 3<&{reading} 4>&{writing}'
        self._process = subprocess.Popen(
            ["bash", "-c", shell, "bash", *command], pass_fds=(reading, writing), stderr=subprocess.DEVNULL
        )
        os.close(reading)
        os.close(writing)
        self._numbers, self._pending, self._session = itertools.count(1), b"", None
        self.errors: list[str] = []
        target = self("Target.createTarget", url="about:blank")["targetId"]
        self._session = self("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self(f"{domain}.enable")
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": touch}
        self("Emulation.setDeviceMetricsOverride", **size)
        self("Emulation.setTouchEmulationEnabled", enabled=touch)

    def __enter__(self) -> "Chromium":
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._out)  # Chromium ends when the pipe is closed
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def __call__(self, method: str, **parameters: Any) -> Any:
        """The result of a DevTools command."""
        number = next(self._numbers)
        order = {"id": number, "method": method, "params": parameters}
        if self._session:
            order["sessionId"] = self._session
        os.write(self._out, json.dumps(order).encode() + b"\0")
        while True:
            message = self._receive()
            if message.get("id") == number:
                assert "error" not in message, f"{method}: {message['error']}"
                return message["result"]
            self._note(message)

    def _receive(self, seconds: float = 120) -> dict[str, Any]:
        while b"\0" not in self._pending:
            assert select.select([self._in], [], [], seconds)[0], f"no message from Chromium for {seconds} s"
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium ended"
            self._pending += part
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        """Records errors, and requests for anything but the page and its worker."""
        method, about = message.get("method"), message.get("params", {})
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(about["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and about["type"] in ("error", "warning", "assert"):
            self.errors.append(str(about["args"]))
        elif method == "Log.entryAdded" and about["entry"]["level"] in ("error", "warning"):
            self.errors.append(str(about["entry"]))
        elif method == "Network.requestWillBeSent":
            url = about["request"]["url"]
            if not url.startswith(("file:", "blob:", "data:", "about:")):
                self.errors.append(f"requested {url}")

    def open(self, url: str) -> None:
        """Opens a page after an empty one, so that it is loaded again where only the #fragment differs."""
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """The value of a JavaScript expression, or of the promise that it returns."""
        result = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, f"{script}: {result['exceptionDetails']}"
        return result["result"].get("value")

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Waits until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"still false after {seconds} s: {condition}"
            time.sleep(0.02)

    def key(self, key: str, kind: str) -> None:
        """Sends a key event, "keyDown" or "keyUp"."""
        code = KEY_CODES.get(key) or ord(key.upper())
        text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
        self("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def press(self, key: str) -> None:
        """Presses and releases a key."""
        self.key(key, "keyDown")
        self.key(key, "keyUp")

    def screenshot(self) -> bytes:
        """The page as PNG."""
        return base64.b64decode(self("Page.captureScreenshot", format="png")["data"])


def _pipe() -> tuple[int, int]:
    """A pipe with file descriptors of 10 or more, since Chromium uses 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
