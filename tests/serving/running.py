"""Photos to send, and a server to send them to."""

import io
import socket
import threading
import time
from contextlib import contextmanager

import httpx
import numpy as np
import uvicorn
from PIL import Image

from figureground.serving.server import config_of


def coded(pixels, kind="PNG", **settings):
    buffer = io.BytesIO()
    picture = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    picture.save(buffer, kind, **settings)
    return buffer.getvalue()


def halves(width=64, height=48):
    image = np.zeros((height, width, 3), np.uint8)
    image[:, width // 2 :] = 255
    return image


PHOTO = coded(halves())


@contextmanager
def running(app, settings):
    """An application at a free port, in a thread; a client for it."""
    server = uvicorn.Server(config_of(app, settings))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        wait_for(lambda: server.started)
        port = listener.getsockname()[1]
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
                client.port = port
                yield client
        finally:
            server.should_exit = True
            thread.join()


def wait_for(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not come true")
