"""What runs a network here tells nobody.

By themselves ONNX Runtime keeps an identifier and a queue of events in the user's cache folder, which it sends, and
OpenVINO sends an event with each import, from a process of its own.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

OPENVINO_REPORTER = "openvino_telemetry"
_importing = threading.Lock()


@contextmanager
def privately() -> Iterator[None]:
    """Import ONNX Runtime or OpenVINO in here, so that neither reports its use."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    with _importing:
        before = sys.modules.get(OPENVINO_REPORTER)
        sys.modules[OPENVINO_REPORTER] = None  # type: ignore[assignment]  # cannot be imported; OpenVINO does without
        try:
            yield
        finally:
            sys.modules.pop(OPENVINO_REPORTER, None)
            if before is not None:
                sys.modules[OPENVINO_REPORTER] = before
