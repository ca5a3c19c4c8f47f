# SPDX-License-Identifier: Apache-2.0
"""A conductor that gives permissions as a test wants it: late, half, lying, hanging, or none.

    with FakeConductor() as conductor:
        conductor.serve_ms = 1400          # what it grants from now on
        conductor.revoke("127.16.0.1:3306")
        conductor.mode = "hang"            # "ok", "hang", "half", "garbage", "error", "late"
        conductor.questions                # all that it was asked, newest last

For what a real conductor cannot be made to do.
"""
import collections
import http.server
import json
import threading
import time


class FakeConductor:
    def __init__(self):
        self.serve_ms, self.revision, self.revoked = 0, 1, set()
        self.mode, self.late_seconds = "ok", 0
        self.questions = collections.deque(maxlen=1000)
        self.token = None
        self.ended = threading.Event()
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                outer.answer(self, json.loads(body))

        class Server(http.server.ThreadingHTTPServer):
            def handle_error(self, *_):
                pass  # an agent that waited no longer

        self.server = Server(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        self.server.shutdown()
        self.server.server_close()

    def revoke(self, *servers):
        self.revoked = self.revoked | set(servers)
        self.revision += 1
        return self.revision

    def allow(self, *servers):
        self.revoked = self.revoked - set(servers)
        self.revision += 1

    def report(self, server):
        """What was told of this server last."""
        if not self.questions:
            return {}
        return next(s for s in self.questions[-1]["servers"] if s["name"] == server)

    def answer(self, handler, question):
        question["path"], question["token"] = handler.path, handler.headers.get("Authorization")
        question["at"] = time.monotonic()
        self.questions.append(question)
        mode = self.mode
        if mode == "hang":
            self.ended.wait(60)
        if mode == "late":
            self.ended.wait(self.late_seconds)
        text = json.dumps({"serve_ms": self.serve_ms, "revision": self.revision,
                           "revoked": sorted(self.revoked)})
        code = 503 if mode == "error" else 200
        if mode == "garbage":
            text = '{"serve_ms": "for ever"}'
        if mode == "error":
            text = '{"error": "no store", "hint": ""}'
        handler.send_response(code)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(text)))
        handler.end_headers()
        handler.wfile.write(text[:5].encode() if mode == "half" else text.encode())
        handler.wfile.flush()
        if mode == "half":
            self.ended.wait(60)
