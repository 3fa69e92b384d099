"""A victim behind HTTP on loopback, as `sims.victims.service` describes it, with faults on request."""

import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO

import numpy as np


class Memory:
    """What outlives the server, as a database would: answers by key, rows evaluated, the keys in order of arrival."""

    def __init__(self):
        self.answers, self.rows, self.keys, self.lock = {}, 0, [], threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One POST: faults come `before` the request is looked at, or `after` its answer is remembered."""

    protocol_version = "HTTP/1.1"  # one connection for all requests
    disable_nagle_algorithm = True  # or every answer waits 40 ms between its head and its body
    server: "Server"

    def do_POST(self):
        body, key = self.rfile.read(int(self.headers["Content-Length"])), self.headers["Idempotency-Key"]
        memory, server = self.server.memory, self.server
        with memory.lock:
            memory.keys.append(key)
            fault = server.faults.get(len(memory.keys))
        if fault is not None and fault(self, "before"):
            return
        with memory.lock:  # a repeated key waits for its first request here
            if key not in memory.answers:
                images = np.load(BytesIO(body), allow_pickle=False)
                memory.answers[key] = np.asarray(server.function(images))
                memory.rows += len(images)
        if fault is None or not fault(self, "after"):
            answer = BytesIO()
            np.save(answer, memory.answers[key])
            self.reply(200, answer.getvalue())

    def reply(self, status: int, body: bytes = b"", promised: int | None = None, **headers: str):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if promised is None else promised))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def hang_up(self):
        self.close_connection = True

    def log_message(self, format, *args):
        pass


class Server(ThreadingHTTPServer):
    """Serves on loopback inside `with`; faults: the number of the request, from 1 on -> what happens to it."""

    daemon_threads = True

    def __init__(self, function: Callable, memory: Memory | None = None, port: int = 0, faults: dict | None = None):
        super().__init__(("127.0.0.1", port), Handler)
        self.function, self.memory, self.faults = function, memory or Memory(), faults or {}
        self.port, self.url = self.server_address[1], f"http://127.0.0.1:{self.server_address[1]}/victim"

    def __enter__(self):
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.die()

    def die(self):
        self.shutdown()
        self.server_close()

    def handle_error(self, request, client_address):
        pass  # a client that hung up
