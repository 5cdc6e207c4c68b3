"""examples/service.py behind a real uvicorn on the loopback: answers equal the model's, faults are one line."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import pytest

import igq

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")


class Service:
    def __init__(self, root, model):
        with socket.socket() as free:  # a port that nobody has at the moment
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        self.address = f"http://127.0.0.1:{port}"
        command = [sys.executable, str(root / "examples/service.py"), str(model), "--port", str(port), "--threads", "2"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
        self.process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(600):
            try:
                self.ask("/health")
                return
            except OSError:
                assert self.process.poll() is None, self.process.stdout.read().decode()
                time.sleep(0.1)
        raise TimeoutError("the service does not answer")

    def ask(self, path, body=None):
        """(status, document)."""
        request = urllib.request.Request(self.address + path, data=body, method="GET" if body is None else "POST")
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as fault:
            return fault.code, json.load(fault)

    def stop(self):
        self.process.terminate()
        assert self.process.wait(30) in (0, -15)


@pytest.fixture
def serve(root):
    running = []

    def start(model):
        running.append(Service(root, model))
        return running[-1]

    yield start
    for service in running:
        service.stop()


def test_a_classifier(serve, igq_file, photo):
    service, model, body = serve(igq_file), igq.Model(igq_file), photo.read_bytes()
    status, health = service.ask("/health")
    assert status == 200 and health["status"] == "ok" and health["kind"] == "classifier" and health["threads"] == 2
    expected = json.loads(json.dumps(model.predict(photo, topk=3)))
    with ThreadPoolExecutor(6) as pool:
        answers = list(pool.map(lambda _: service.ask("/predict?topk=3", body), range(24)))
    assert answers == [(200, expected)] * 24
    assert service.ask("/embed", body) == (200, {"embedding": model.embed(photo)[0].tolist()})
    for bad in (b"no picture", body[: len(body) // 2], b""):
        status, fault = service.ask("/predict", bad)
        assert status == 400 and "\n" not in fault["detail"]
    assert service.ask("/predict", b"\0" * (33 << 20))[0] == 413
    assert service.ask("/predict?topk=0", body)[0] == 422
    assert service.ask("/detect", body)[0] == 404
    assert service.ask("/predict?topk=3", body) == (200, expected)


def test_a_detector(serve, root, photo):
    folder = root.parent / "shared/data/detection/yolos"
    if not folder.exists():
        pytest.skip("needs ../shared/data/detection")
    service = serve(folder)
    status, found = service.ask("/detect?threshold=0.01", photo.read_bytes())
    wanted = igq.Model(folder).detect(photo, 0.01)
    assert status == 200 and [(d["label"], d["score"]) for d in found] == [(d["label"], d["score"]) for d in wanted]
    assert service.ask("/predict", b"x")[0] == 404
