"""Nobody is told that a photo was looked at: both engines would report to their makers."""

import os
import subprocess
import sys

import pytest

PREDICT = """
import os, socket, sys
def refuse(*_): raise SystemExit("asked for a connection")
socket.getaddrinfo = socket.create_connection = refuse
os.fork = refuse  # OpenVINO reports from a process of its own
import numpy as np
from figureground.prediction import load
load(engine=sys.argv[1]).predict(np.zeros((8, 8, 3), np.uint8))
"""


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_prediction_leaves_nothing_in_the_home_folder(engine, tmp_path):
    pytest.importorskip(engine)
    home = {name: str(tmp_path) for name in ("HOME", "USERPROFILE", "XDG_CACHE_HOME", "LOCALAPPDATA")}
    settings = {name: value for name, value in os.environ.items() if name not in ("CI", "ORT_DISABLE_TELEMETRY")}
    done = subprocess.run(
        [sys.executable, "-c", PREDICT, engine], env=settings | home, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.rglob("*")) == []


def test_openvinos_reporter_can_still_be_imported_by_others():
    pytest.importorskip("openvino_telemetry")
    code = "import figureground.prediction.photos.engines.openvino_engine, openvino_telemetry"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
