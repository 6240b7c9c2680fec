"""A headless Chromium, driven through its DevTools protocol on two pipes: no package and no port are needed."""

import base64
import json
import os
import shutil
import subprocess
from contextlib import contextmanager

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
FLAGS += ["--disable-background-networking", "--disable-component-update", "--hide-scrollbars"]
EXECUTABLE = next((path for name in NAMES if (path := shutil.which(name))), None)


class Page:
    """One tab, and the events it has reported."""

    def __init__(self, to_browser, from_browser):
        self._to, self._from = to_browser, from_browser
        self._next = 0
        self._session = None
        self.events = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method, **params):
        """Send a command and wait for its answer; events that come before it are kept."""
        self._next += 1
        message = {"id": self._next, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        while (answer := self._read()).get("id") != self._next:
            self.events.append(answer)
        assert "error" not in answer, answer
        return answer["result"]

    def _read(self):
        message = bytearray()
        while (byte := self._from.read(1)) != b"\0":
            assert byte, "Chromium has ended"
            message += byte
        return json.loads(message)

    def open(self, path, width=1280, height=900, dark=False):
        """Load a file and wait until it and its pictures are there."""
        phone = width < 600
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self.call("Page.navigate", url=path.resolve().as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def run(self, expression):
        """The value of JavaScript in the page."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"]["value"]

    def of(self, method):
        """The events of a kind."""
        return [event["params"] for event in self.events if event.get("method") == method]

    def screenshot(self, path, *, whole=True):
        """The page as PNG."""
        answer = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        path.write_bytes(base64.b64decode(answer["data"]))

    def print(self, path):
        """The page as it is printed, a PDF."""
        path.write_bytes(base64.b64decode(self.call("Page.printToPDF", paperWidth=8.27, paperHeight=11.69)["data"]))


@contextmanager
def browsing(profile):
    """A tab of a fresh browser, whose profile is the folder ``profile``."""
    read_command, write_command = os.pipe()
    read_answer, write_answer = os.pipe()

    def as_three_and_four():  # where Chromium expects its pipes
        command, answer = os.dup2(read_command, 100), os.dup2(write_answer, 101)
        os.dup2(command, 3)
        os.dup2(answer, 4)

    command = [EXECUTABLE, *FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    silent = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with (
        subprocess.Popen(command, preexec_fn=as_three_and_four, pass_fds=(3, 4), **silent) as process,  # noqa: PLW1509
        os.fdopen(write_command, "wb") as to_browser,
        os.fdopen(read_answer, "rb") as from_browser,
    ):
        os.close(read_command)
        os.close(write_answer)
        try:
            yield Page(to_browser, from_browser)
        finally:
            process.kill()
