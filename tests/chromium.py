"""A headless Chromium at the end of two pipes: raw DevTools protocol, no driver and no port."""

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
    """Where Chromium is; the test fails, and says how to mend it, where there is none."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    assert found, f"none of {', '.join(NAMES)} is on PATH. Run `apt-get install chromium`."
    return found


class Chromium:
    """One tab of one browser with a profile of its own; `errors` are what its pages complained of."""

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
        os.close(self._out)  # it ends when nobody listens
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        os.close(self._in)

    def __call__(self, method: str, **parameters: Any) -> Any:
        """A DevTools command's result."""
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
            assert select.select([self._in], [], [], seconds)[0], f"Chromium said nothing for {seconds} s"
            part = os.read(self._in, 1 << 16)
            assert part, "Chromium ended"
            self._pending += part
        message, _, self._pending = self._pending.partition(b"\0")
        return json.loads(message)

    def _note(self, message: dict[str, Any]) -> None:
        """Keeps what is an error, and any request for more than the page itself and its worker."""
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
                self.errors.append(f"asked for {url}")

    def open(self, url: str) -> None:
        """Goes to a page, by way of an empty one, so that a mere #fragment loads it anew."""
        self("Page.navigate", url="about:blank")
        self("Page.navigate", url=url)

    def evaluate(self, script: str) -> Any:
        """What a JavaScript expression, or the promise it gives, comes to."""
        found = self("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, f"{script}: {found['exceptionDetails']}"
        return found["result"].get("value")

    def wait(self, condition: str, seconds: float = 120) -> None:
        """Until a JavaScript expression is true."""
        end = time.monotonic() + seconds
        while not self.evaluate(condition):
            assert time.monotonic() < end, f"after {seconds} s still not: {condition}"
            time.sleep(0.02)

    def key(self, key: str, kind: str) -> None:
        """A key goes "keyDown" or "keyUp"."""
        code = KEY_CODES.get(key) or ord(key.upper())
        text = {"text": key} if len(key) == 1 and kind == "keyDown" else {}
        self("Input.dispatchKeyEvent", type=kind, key=key, windowsVirtualKeyCode=code, **text)

    def press(self, key: str) -> None:
        """A key, down and up."""
        self.key(key, "keyDown")
        self.key(key, "keyUp")

    def screenshot(self) -> bytes:
        """What is seen, as PNG."""
        return base64.b64decode(self("Page.captureScreenshot", format="png")["data"])


def _pipe() -> tuple[int, int]:
    """A pipe whose ends are numbered from 10 on, out of the way of files 3 and 4."""
    ends = []
    for end in os.pipe():
        ends.append(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, 10))
        os.close(end)
    return ends[0], ends[1]
