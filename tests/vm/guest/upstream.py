"""A model's server that answers as the prompt says."""
import json
import re
import socketserver
import threading
import time
from http.server import BaseHTTPRequestHandler

PORT = 9900


class Upstream(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 256

    def __init__(self):
        super().__init__(("127.0.0.1", PORT), Handler)
        self.cancelled = threading.Event()
        self.go_on = threading.Event()
        # The test's clients leave as they like.
        self.handle_error = lambda *_: None
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_POST(self):  # pylint: disable=invalid-name
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        command = re.search(r"do:([a-z]+):?(\d*)", body)
        getattr(self, command[1])(int(command[2] or 0))
        self.close_connection = True

    def head(self, status=200):
        self.send_response(status)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()

    def event(self, text, **more):
        choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, **more}
        self.wfile.write(b"data: " + json.dumps({"object": "chat.completion.chunk", "choices": [choice]}).encode() + b"\n\n")
        self.wfile.flush()

    def done(self):
        self.event("", finish_reason="stop")
        self.wfile.write(b"data: [DONE]\n\n")
        self.wfile.flush()

    def refuse(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def cut(self, events):
        """Some events, and an end in the middle of one."""
        self.head()
        for _ in range(events):
            self.event("word ")
        self.wfile.write(b'data: {"object":"chat.comp')

    def fail(self, events):
        """Some events, and an error."""
        self.head()
        for _ in range(events):
            self.event("word ")
        self.wfile.write(b'data: {"error":{"message":"overloaded","type":"server_error"}}\n\n')

    def much(self, kilobytes):
        """As fast as it is read."""
        self.head()
        for number in range(kilobytes):
            self.event(f"{number:08d}" * 128)
        self.done()

    def words(self, number):
        """One after the other, at the pace of a fast model."""
        self.head()
        for _ in range(number):
            self.event("word ")
            time.sleep(0.01)
        self.done()

    def forever(self, _):
        """Until nobody reads."""
        self.head()
        try:
            while True:
                self.event("word ")
                time.sleep(0.01)
        except OSError:
            self.server.cancelled.set()

    def wait(self, _):
        """One event, and the rest when the test says so."""
        self.head()
        self.event("first ")
        self.server.go_on.wait(300)
        self.event("last")
        self.done()
