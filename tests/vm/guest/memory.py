"""What is in the memory of a process of httpd: secrets of its connections."""
import hashlib
import hmac
import re
import struct

from servers import read


def keys_of(log):
    """By client random: what a key log of a connection says, as (label, bytes)."""
    lines = {}
    for line in read(log).splitlines():
        label, random, secret = line.split()
        if label in ("SERVER_TRAFFIC_SECRET_0", "CLIENT_RANDOM"):
            lines[random] = (label, bytes.fromhex(secret))
    return lines


def sending_key(secret, length=32):
    """HKDF-Expand-Label of RFC 8446, for AES-256 with SHA-384."""
    label = b"tls13 key"
    info = struct.pack(">HB", length, len(label)) + label + b"\0"
    return hmac.new(secret, info + b"\1", hashlib.sha384).digest()[:length]


def copies(pid, needle):
    """How often these bytes are in what the process may write."""
    found = 0
    with open(f"/proc/{pid}/maps", encoding="ascii") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            begin, end, access = re.match(r"(\w+)-(\w+) (\S+)", line).groups()
            if not access.startswith("rw") or "[v" in line:
                continue
            memory.seek(int(begin, 16))
            left = int(end, 16) - int(begin, 16)
            content = b""
            while left > 0 and (part := memory.read(left)):
                content += part
                left -= len(part)
            found += content.count(needle)
    return found
