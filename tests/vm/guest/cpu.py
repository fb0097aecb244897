"""What a stream costs with TLS in Apache and the kernel, and with the same Apache behind nginx. Processor time of all
servers' processes, the kernel's work for them included. The processor is emulated and each instruction takes as long as any
other, so only the ratio says something."""
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import servers
from clients import Python, path
from servers import PORTS, WORK, Apache, Daemon, answers, until
from upstream import PORT as UPSTREAM_PORT
from upstream import Upstream

AT_ONCE = 10
TICKS_S = os.sysconf("SC_CLK_TCK")
NAMES = ("apache2", "nginx", "streaming-daemon")

cases = []


def logs():
    return ""


def case(function):
    cases.append(function)
    return function


def seconds():
    """Processor time by program."""
    used = dict.fromkeys(NAMES, 0.0)
    for pid in filter(str.isdigit, os.listdir("/proc")):
        name, _, rest = servers.read(f"/proc/{pid}/stat").partition("(")[2].rpartition(")")
        # Cut at 15 characters.
        for program in NAMES:
            if rest and program.startswith(name):
                used[program] += sum(map(int, rest.split()[11:13])) / TICKS_S
    return used


def ask(site, where):
    # Its key is an ECDSA key: an RSA signature would cost more than everything else.
    client = Python(site, "b.test")
    answer = client.ask(where, host="b.test").read_to_end()
    client.close()
    assert answer.status == 200 and b"data: [DONE]\n\n" in answer.body, answer


def measure(site, where, streams):
    before = seconds()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: ask(site, where), range(streams)))
    after = seconds()
    return {name: (after[name] - before[name]) * 1000 / streams for name in NAMES}


@case
def measured():
    os.system("modprobe tls && cp /bin/busybox /usr/sbin/modprobe")
    mock = Daemon("mock", "--delay", "20").start()
    Upstream()
    model = Daemon("model", "--backend", "openai", environment={
        "OPENAI_API_BASE": f"http://127.0.0.1:{UPSTREAM_PORT}/v1", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "m"}).start()
    apache = Apache("main", ["plain", "tls"]).start()
    nginx = start_nginx()
    for what, where, streams in (("18 events of the mock", path(mock), 40),
                                 ("400 events of an upstream", path(model, "do:words:400"), 10)):
        print(f"CPU a stream of {what}, each over a connection of its own, ms:", flush=True)
        for site, how in (("tls", "TLS in Apache and the kernel"), ("nginx", "nginx ends TLS in front")):
            ask(site, where)
            report(how, measure(site, where, streams))
    os.kill(nginx.pid, signal.SIGTERM)
    apache.stop()
    mock.stop()
    model.stop()


def report(how, used):
    parts = ", ".join(f"{name} {ms:.1f}" for name, ms in used.items() if ms > 0)
    print(f"  {how:30} {sum(used.values()):6.1f}   ({parts})", flush=True)


def start_nginx():
    PORTS["nginx"] = 8470
    with open(f"{WORK}/nginx.conf", "w", encoding="utf-8") as file:
        file.write(f"""
daemon off;
pid {WORK}/nginx.pid;
error_log {WORK}/nginx.log;
user www-data;
worker_processes 1;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    server {{
        listen 127.0.0.1:{PORTS["nginx"]} ssl;
        ssl_certificate /vm/certificates/b.pem;
        ssl_certificate_key /vm/certificates/b.key;
        ssl_protocols TLSv1.2 TLSv1.3;
        location / {{
            proxy_pass http://127.0.0.1:{PORTS["plain"]};
            proxy_http_version 1.1;
        }}
    }}
}}
""")
    os.makedirs("/var/lib/nginx/body", exist_ok=True)
    os.makedirs("/var/log/nginx", exist_ok=True)
    process = subprocess.Popen(["/usr/sbin/nginx", "-c", f"{WORK}/nginx.conf"])
    until(lambda: answers(PORTS["nginx"]), lambda: servers.read(f"{WORK}/nginx.log"))
    return process
