"""A browser outside of the machine reads a stream over kernel TLS, and its page reports what it read."""
import json
import os
import subprocess

from clients import path
from servers import Apache, Daemon, read, until

REPORT = "/tmp/report"

mock = Daemon("mock", "--delay", "50")
apache = Apache("browser", ["browser"], mpm="event")
cases = []


def logs():
    return read(apache.log)[-3000:]


def case(function):
    cases.append(function)
    return function


@case
def browser_that_came_over_http2_reads_two_streams_event_by_event():
    # The kernel itself loads the ciphers.
    subprocess.run("cp /bin/busybox /usr/sbin/modprobe && modprobe tls && modprobe virtio_pci && modprobe virtio_net && ip link set eth0 up"
                   " && ip address add 10.0.2.15/24 dev eth0", shell=True, check=True)
    mock.start()
    apache.start()
    print(json.dumps({"open": "/browser.html?" + path(mock).partition("?")[2]}), flush=True)
    until(lambda: os.path.exists(REPORT), "the page reports")
    apache.stop()
    with open(REPORT, encoding="utf-8") as file:
        streams = json.load(file)
    assert len(streams) == 2, streams
    for stream in streams:
        assert stream["status"] == 200 and not stream["error"], stream
        assert stream["text"].count("data: {") == 18 and stream["text"].endswith("data: [DONE]\n\n"), stream
        assert stream["reads"] > 10, stream
    assert streams[0]["page"] == "h2", streams
    # Once told, the browser remembers.
    assert read(apache.log).count("told to ask again over HTTP/1.1") == 1, read(apache.log)
    assert read(apache.log).count("client handed to") == 2
