"""An app for load: answers at once, slowly, to uploads and over WebSocket, with the host's Python."""

import base64
import hashlib
import http.server
import os
import signal
import threading
import time

MAGIC = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; the second must not wait for the acknowledgement of the first.
    disable_nagle_algorithm = True

    def do_GET(self):
        if self.path == "/slow":
            self.slow()
        elif self.headers.get("Upgrade", "").lower() == "websocket":
            self.echo()
        else:
            self.whole(f"word {os.environ.get('WORD', '-')}\n")

    def do_POST(self):
        self.whole(f"{sum(self.pieces())}\n")

    def whole(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def slow(self):
        """The head at once, the body over a second."""
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in ["piece\n"] * 10 + ["end\n"]:
            self.wfile.write(f"{len(piece):x}\r\n{piece}\r\n".encode())
            time.sleep(0.1)
        self.wfile.write(b"0\r\n\r\n")

    def pieces(self):
        """The lengths of the pieces of an upload."""
        left = int(self.headers.get("Content-Length", 0))
        while left > 0:
            got = len(self.rfile.read(min(left, 1 << 16)))
            left -= got
            yield got
        while self.headers.get("Transfer-Encoding") == "chunked":
            size = int(self.rfile.readline(), 16)
            yield len(self.rfile.read(size))
            self.rfile.readline()
            if size == 0:
                return

    def echo(self):
        """Short frames of RFC 6455 come back until the client or the router ends it."""
        key = self.headers["Sec-WebSocket-Key"].encode()
        self.send_response(101)
        self.send_header("Connection", "Upgrade")
        self.send_header("Upgrade", "websocket")
        accept = base64.b64encode(hashlib.sha1(key + MAGIC).digest()).decode()
        self.send_header("Sec-WebSocket-Accept", accept)
        self.end_headers()
        self.close_connection = True
        while head := self.rfile.read(2):
            mask = self.rfile.read(4)
            payload = self.rfile.read(head[1] & 0x7F)
            plain = bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
            self.wfile.write(bytes([head[0], len(plain)]) + plain)
            if head[0] & 0x0F == 8:
                return

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("0.0.0.0", int(os.environ["PORT"])), Handler)
signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
server.serve_forever()
