import importlib.resources
import io
import json
import mimetypes
import shutil
import threading
from collections import deque
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
from PIL import Image, ImageOps

STATIC = importlib.resources.files("figureground") / "serving" / "static"
CSP = "default-src 'self'; img-src 'self' blob: data:"


class StandIn(ThreadingHTTPServer):
    """A service of the same contract whose answers are known: the probability of a pixel is its red / 255."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answers)
        self.address = f"http://127.0.0.1:{self.server_port}/"
        self.refusals = deque()  # (status, headers, problem) for the next requests
        self.estimate = "0.97"
        self.asked = []
        self.hold = threading.Event()
        self.hold.set()


class Answers(BaseHTTPRequestHandler):
    def do_GET(self):
        name = {"/": "index.html"}.get(self.path, self.path.removeprefix("/static/"))
        if self.path == "/v1/models":
            self.reply(200, {}, json.dumps({"models": [{"name": "pets", "default": True, "threshold": 0.5}]}).encode())
        elif "/" not in name and (STATIC / name).is_file():
            self.reply(200, {"Content-Type": mimetypes.guess_type(name)[0]}, (STATIC / name).read_bytes())
        else:
            self.reply(404, {}, b"")

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.asked.append(self.path)
        self.server.hold.wait(20)
        if self.server.refusals:
            status, headers, problem = self.server.refusals.popleft()
            self.reply(status, {"Content-Type": "application/problem+json", **headers}, json.dumps(problem).encode())
            return
        red = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(body))).convert("RGB"))[..., 0]
        answer = io.BytesIO()
        Image.fromarray(red.astype(np.uint16) * 257).save(answer, "PNG")
        review = str(float(self.server.estimate or 1) < 0.9).lower()
        headers = {"X-Needs-Review": review, "X-Threshold": "0.5", "Content-Type": "image/png"}
        if self.server.estimate:
            headers["X-Estimated-Dice"] = self.server.estimate
        self.reply(200, headers, answer.getvalue())

    def reply(self, status, headers, content):
        self.send_response(status)
        for name, value in {**headers, "Content-Security-Policy": CSP, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *arguments):
        pass


@contextmanager
def running(server):
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def service():
    with running(StandIn()) as server:
        yield server
        server.hold.set()


@pytest.fixture(scope="session")
def chromium():
    """The browser of the system, started once."""
    sync_api = pytest.importorskip("playwright.sync_api", reason="the page is tried in a browser: needs playwright")
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if not path:
        pytest.skip("the page is tried in a browser: there is no chromium here")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium):
    """Open an address in a fresh profile; whatever the page reports as an error fails the test."""
    contexts, problems = [], []

    def open_page(address, **settings):
        context = chromium.new_context(accept_downloads=True, **settings)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("console", lambda said: said.type == "error" and problems.append(said.text))
        page.problems = problems
        page.goto(address)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not [each for each in problems if "Failed to load resource" not in each]
