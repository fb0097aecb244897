"""The clients: each of another TLS library, or the same in another way. All but curl with
OpenSSL fail if the end comes without close_notify."""
import json
import select
import socket
import ssl
import subprocess
import urllib.parse

import pycurl

from servers import PORTS

PATIENCE_S = 300


def path(daemon, prompt="hello", data=None, **more):
    """The address of a request that asks for a handoff."""
    text = json.dumps({"prompt": prompt, "request_id": "r"}) if data is None else data
    return "/handoff.php?" + urllib.parse.urlencode({"socket": daemon.socket, "data": text, **more})


class Answer:
    def __init__(self, status, body, error=""):
        self.status = status
        self.body = body
        self.error = error

    def __repr__(self):
        return f"{self.status} {self.body[:300]!r} {self.error}"


def curl(site, where, *arguments, host="a.test"):
    """curl with OpenSSL."""
    scheme = "http" if site == "plain" else "https"
    result = subprocess.run(
        ["curl", "-sS", "-k", "--http1.1", "--max-time", str(PATIENCE_S), "-w", "\n%{http_code}",
         "--connect-to", f"::127.0.0.1:{PORTS[site]}", *arguments, f"{scheme}://{host}:{PORTS[site]}{where}"],
        capture_output=True, check=False)
    body, _, status = result.stdout.rpartition(b"\n")
    return Answer(int(status or 0), body, "" if result.returncode == 0 else f"curl {result.returncode}: {result.stderr!r}")


def curl_gnutls(site, where):
    """curl with GnuTLS."""
    body = []
    handle = pycurl.Curl()
    for option, value in {
        pycurl.URL: f"https://127.0.0.1:{PORTS[site]}{where}", pycurl.SSL_VERIFYPEER: 0, pycurl.SSL_VERIFYHOST: 0,
        pycurl.WRITEFUNCTION: body.append, pycurl.TIMEOUT: PATIENCE_S,
        pycurl.HTTP_VERSION: pycurl.CURL_HTTP_VERSION_1_1,
    }.items():
        handle.setopt(option, value)
    error = ""
    try:
        handle.perform()
    except pycurl.error as e:
        error = str(e)
    answer = Answer(handle.getinfo(pycurl.RESPONSE_CODE), b"".join(body), error)
    handle.close()
    return answer


def request_text(where, host="a.test", close=False):
    return (f"GET {where} HTTP/1.1\r\nHost: {host}\r\nAccept: text/event-stream\r\n"
            + ("Connection: close\r\n" if close else "") + "\r\n").encode()


def split(raw):
    head, _, body = raw.partition(b"\r\n\r\n")
    words = head.split(b" ", 2)
    return Answer(int(words[1]) if len(words) > 1 else 0, body)


def s_client(site, requests, *arguments):
    """openssl s_client, to which the given bytes are typed. The end is clean if it says "closed" and no error."""
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{PORTS[site]}", "-quiet", "-servername", "a.test", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(requests)
    process.stdin.flush()
    # Its input stays open: its end would end the connection.
    output = process.stdout.read()
    process.stdin.close()
    error = process.stderr.read()
    process.wait(PATIENCE_S)
    answer = split(output)
    if process.returncode != 0 or b"error" in error.lower().replace(b"verify error", b""):
        answer.error = f"s_client {process.returncode}: {error!r}"
    return answer


def context(least=None, most=None, ciphers=None):
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # Python ignores an end without close_notify unless it is told otherwise.
    made.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
    made.check_hostname = False
    made.verify_mode = ssl.CERT_NONE
    if least:
        made.minimum_version = least
    if most:
        made.maximum_version = most
    if ciphers:
        made.set_ciphers(ciphers)
    return made


class Python:
    """Python's ssl. A read raises an error if the end comes without close_notify."""

    def __init__(self, site="tls", host="a.test", tls=None, session=None, receive_buffer=None):
        plain = socket.socket()
        plain.settimeout(PATIENCE_S)
        if receive_buffer:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        plain.connect(("127.0.0.1", PORTS[site]))
        self.socket = (tls or context()).wrap_socket(
            plain, server_hostname=host, session=session, suppress_ragged_eofs=False)

    def send(self, data):
        self.socket.sendall(data)
        return self

    def ask(self, where, **more):
        return self.send(request_text(where, **more))

    def read_head(self):
        raw = b""
        while b"\r\n\r\n" not in raw:
            part = self.socket.recv(1)
            assert part, f"the connection ended after {raw!r}"
            raw += part
        return raw

    def read_answer(self):
        """One response with a Content-Length, of a connection that is kept."""
        head = self.read_head()
        length = int(next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")))
        body = b""
        while len(body) < length:
            part = self.socket.recv(length - len(body))
            assert part, f"the connection ended after {len(body)} of {length} bytes"
            body += part
        return split(head + body)

    def read_to_end(self):
        raw = b""
        while True:
            part = self.socket.recv(65536)
            if not part:
                return split(raw)
            raw += part

    def close(self):
        self.socket.close()

    def read_to_end_of_body(self):
        """What is left of an answer whose head was read."""
        raw = b""
        while part := self.socket.recv(65536):
            raw += part
        return raw


def post(site, where, body, tls, host="a.test"):
    """Sends a body and reads at the same time, in one thread: in two, OpenSSL's object for the connection may take the end for a
    cut one (Python has a lock for it only since 3.13). An end without close_notify is an error."""
    received, to_send = ssl.MemoryBIO(), ssl.MemoryBIO()
    connection = tls.wrap_bio(received, to_send, server_hostname=host)
    head = (f"POST {where} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/octet-stream\r\n"
            f"Content-Length: {len(body)}\r\n\r\n").encode()
    left = memoryview(head + body)
    raw, unsent, established = b"", b"", False
    with socket.create_connection(("127.0.0.1", PORTS[site])) as plain:
        plain.setblocking(False)
        while True:
            try:
                if not established:
                    connection.do_handshake()
                    established = True
                if len(unsent) < 65536:
                    left = left[connection.write(left[:16384]):] if left else left
                while part := connection.read(65536):
                    raw += part
                return split(raw)
            except ssl.SSLWantReadError:
                unsent += to_send.read()
            readable, writable, _ = select.select([plain], [plain] if unsent else [], [], PATIENCE_S)
            assert readable or writable, f"nothing happens after {raw!r}"
            if writable:
                try:
                    unsent = unsent[plain.send(unsent):]
                except OSError:
                    # It has closed; what it said before is still to be read.
                    unsent, left = b"", left[:0]
            if readable:
                part = plain.recv(65536)
                received.write(part) if part else received.write_eof()


def gnutls_cli(site, requests):
    """gnutls-cli, to which the given bytes are typed. It says so if the end is not clean."""
    process = subprocess.Popen(
        ["gnutls-cli", "--no-ca-verification", "--sni-hostname", "a.test", "--logfile", "/tmp/gnutls-cli.log", "-p",
         str(PORTS[site]), "127.0.0.1"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write(requests)
    process.stdin.flush()
    output = process.stdout.read()
    process.stdin.close()
    error = process.stderr.read()
    process.wait(PATIENCE_S)
    answer = split(output)
    if b"Error" in error or b"Fatal" in error or process.returncode != 0:
        answer.error = f"gnutls-cli {process.returncode}: {error!r}"
    return answer
