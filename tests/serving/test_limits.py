"""Bounds hold, and who leaves frees a place."""

import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

from figureground.serving import server

from .running import PHOTO, wait_for


def gauge(client, name):
    return float(client.get("/metrics").text.partition(f"\nfigureground_{name} ")[2].split()[0])


def request_bytes(body=PHOTO, length=None, more=b""):
    length = len(body) if length is None else length
    return b"POST /v1/segment HTTP/1.1\r\nHost: a\r\n%sContent-Length: %d\r\n\r\n%s" % (more, length, body)


def test_one_is_worked_on_one_waits_and_others_are_refused(serving):
    gate = threading.Event()
    client = serving(before=gate.wait, concurrency=1, queue=1)
    with ThreadPoolExecutor(2) as pool:
        accepted = [pool.submit(client.post, "/v1/segment", content=PHOTO) for _ in range(2)]
        wait_for(lambda: gauge(client, "waiting") == 1)
        refused = client.post("/v1/segment", content=PHOTO)
        assert refused.status_code == 429
        assert int(refused.headers["Retry-After"]) >= 1
        assert refused.json()["allowed"] == 1
        assert client.get("/readyz").status_code == 503
        gate.set()
        assert [each.result().status_code for each in accepted] == [200, 200]
    assert client.get("/readyz").status_code == 200
    assert gauge(client, "held_bytes") == 0


def test_who_waits_or_is_worked_on_for_too_long_is_told(serving):
    gate = threading.Event()
    client = serving(before=gate.wait, concurrency=1, longest_wait=0.1, longest_run=0.5)
    with ThreadPoolExecutor(2) as pool:
        answers = [each.result() for each in [pool.submit(client.post, "/v1/segment", content=PHOTO) for _ in range(2)]]
    details = {answer.json()["detail"].partition(" for ")[0] for answer in answers}
    assert {answer.status_code for answer in answers} == {503}
    assert details == {"the request waited", "the request was worked on"}
    assert all(int(answer.headers["Retry-After"]) >= 1 for answer in answers)
    assert gauge(client, "working") == 1  # the thread is not free before it is done
    gate.set()
    wait_for(lambda: gauge(client, "working") == 0)
    assert client.post("/v1/segment", content=PHOTO).status_code == 200


def test_who_leaves_frees_a_place(serving):
    gate = threading.Event()
    client = serving(before=gate.wait, concurrency=1, queue=1)
    connections = [socket.create_connection(("127.0.0.1", client.port)) for _ in range(2)]
    for number, connection in enumerate(connections):
        connection.sendall(request_bytes())
        wait_for(lambda number=number: gauge(client, "working") + gauge(client, "waiting") == number + 1)
    connections[1].close()
    wait_for(lambda: gauge(client, "waiting") == 0)
    connections[0].close()
    gate.set()
    wait_for(lambda: gauge(client, "working") == 0)
    assert gauge(client, "held_bytes") == 0
    assert 'requests_total{status="499"} 2.0' in client.get("/metrics").text


def test_what_requests_hold_together_is_bounded(serving):
    client = serving(held_bytes=len(PHOTO) + 10)
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(request_bytes(PHOTO[:11], len(PHOTO)))
        wait_for(lambda: gauge(client, "held_bytes") == 11)
        answer = client.post("/v1/segment", content=PHOTO)
        assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")
    wait_for(lambda: gauge(client, "held_bytes") == 0)
    assert client.post("/v1/segment", content=PHOTO).status_code == 200


def test_slow_senders_are_told(serving):
    client = serving(longest_upload=0.2)
    with socket.create_connection(("127.0.0.1", client.port)) as connection:
        connection.sendall(request_bytes(PHOTO[:11], len(PHOTO)))
        assert connection.recv(1000).startswith(b"HTTP/1.1 408")


def test_connections_without_a_request_are_ended(serving, monkeypatch):
    monkeypatch.setattr(server, "PATIENCE", 0.1)
    client = serving()
    for start in (b"", b"POST /v1/segment HTTP/1.1\r\nHost:"):
        with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection:
            connection.sendall(start)
            with suppress(ConnectionResetError):
                assert connection.recv(1000) == b""


def test_too_many_connections_are_ended(serving, monkeypatch):
    client = serving()
    monkeypatch.setattr(server, "CONNECTIONS", 1)  # not before: it is the backlog too
    assert client.get("/healthz").status_code == 200  # its connection is kept
    with socket.create_connection(("127.0.0.1", client.port), timeout=10) as connection, suppress(ConnectionResetError):
        assert connection.recv(1000) == b""
    assert client.get("/healthz").status_code == 200
