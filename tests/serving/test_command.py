"""``figureground serve`` as a process."""

import logging
import os
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from figureground.cli.options import flags_of
from figureground.config import ServeConfig
from figureground.errors import UsageError
from figureground.serving.server import config_of, model_names
from figureground.settings import find_setting

from .running import PHOTO, wait_for


@contextmanager
def serve(*arguments, **environment):
    """The process, and its address."""
    command = [sys.executable, "-m", "figureground", "serve", "--port", "0", *map(str, arguments)]
    given = {**os.environ, "PYTHONUNBUFFERED": "1", **environment}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=given) as process:
        try:
            head = [process.stdout.readline() for _ in range(2)]
            address = re.search(r"http://\S+", head[1])
            assert address, (head, process.stderr.read())
            process.head = head
            yield process, address[0]
        finally:
            process.terminate()
            process.wait(60)


def test_it_says_what_it_does_and_answers_what_it_accepted(bright_onnx, tmp_path):
    (tmp_path / "key").write_text("a word\n")
    with serve(bright_onnx, "--key-file", tmp_path / "key", "--queue", 40) as (process, address):
        assert "--queue 40" in process.head[0]
        assert process.head[1].startswith("serving bright at http://127.0.0.1:")
        assert httpx.post(f"{address}/v1/segment", content=PHOTO).status_code == 401
        key = {"Authorization": "Bearer a word"}
        with ThreadPoolExecutor(20) as pool, httpx.Client(headers=key, timeout=60) as client:
            answers = [pool.submit(client.post, f"{address}/v1/segment", content=PHOTO) for _ in range(20)]
            counted = re.compile(r'requests_total{status="200"} [1-9]')
            wait_for(lambda: counted.search(client.get(f"{address}/metrics").text))
            process.terminate()
            statuses = [each.exception() or each.result().status_code for each in answers]
        process.wait(60)
        assert 200 in statuses
        refused = (httpx.ConnectError, httpx.ReadError, httpx.RemoteProtocolError)
        assert all(status == 200 or isinstance(status, refused) for status in statuses)
        with pytest.raises(httpx.ConnectError):
            httpx.get(f"{address}/healthz")
        assert process.stderr.read() == ""


def test_a_worker_that_is_killed_is_started_again(bright_onnx):
    with serve(bright_onnx, "--workers", 2) as (process, address):

        def answers():
            try:
                return httpx.post(f"{address}/v1/segment", content=PHOTO, timeout=60).status_code == 200
            except httpx.TransportError:
                return False

        def workers():
            command = ["ps", "-ww", "-o", "pid=", "-o", "args=", "--ppid", str(process.pid)]
            found = subprocess.run(command, capture_output=True, text=True, check=True)
            return [int(line.split()[0]) for line in found.stdout.splitlines() if "spawn_main" in line]

        wait_for(answers)
        killed = workers()
        assert len(killed) == 2
        for number in killed:
            os.kill(number, signal.SIGKILL)
        wait_for(answers)
        assert not set(workers()) & set(killed)


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["--queue", "-1"], 2, "queue is -1; expected at least 0"),
        (["missing.onnx"], 1, "missing.onnx: no such model"),
        (["--host", "192.0.2.1"], 1, "cannot listen at 192.0.2.1, port 8000"),
        (["--key-file", "empty"], 2, "the key in empty is empty; expected a long random word"),
    ],
)
def test_what_is_wrong_is_told(in_process, tmp_path, monkeypatch, arguments, status, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").write_text("\n")
    ended, _, said = in_process("serve", *arguments)
    assert (ended, words in said) == (status, True), said


def test_models_have_names(bright_onnx):
    assert model_names(["pets", str(bright_onnx)]) == {"pets": "pets", "bright": str(bright_onnx)}
    with pytest.raises(UsageError, match="both named bright; rename one of them"):
        model_names([str(bright_onnx), str(bright_onnx)])


def test_defaults_are_private():
    assert ServeConfig().host == "127.0.0.1"


def test_the_page_names_all_bounds():
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text()
    rows = dict(re.findall(r"^\| `(--[\w-]+)` \| ([^|]+) \|", page, re.MULTILINE))
    assert rows.pop("--concurrency") == "cores + 1"
    defaults = {flags[0]: find_setting(ServeConfig, path, "").default for path, flags in flags_of(ServeConfig).items()}
    assert defaults.pop("--concurrency") is None
    assert {flag: value.replace(",", "") for flag, value in rows.items()} == {
        flag: value if isinstance(value, str) else f"{value:.12g}" for flag, value in defaults.items()
    }


def test_the_handlers_of_others_stay():
    """Uvicorn's own configuration closes them; absl's, which TensorBoard brings, then closes its stream."""
    closed = []

    class Handler(logging.Handler):
        def close(self):
            closed.append(self)

    handler = Handler()
    config_of(FastAPI(), ServeConfig())
    assert handler not in closed
