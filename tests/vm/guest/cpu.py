"""What a stream costs with TLS in Apache and the kernel, and with the same Apache behind nginx. Processor time of all
servers' processes, the kernel's work for them included; the processor is emulated, so only the ratio says something."""
import os
import signal
import subprocess
from concurrent.futures import ThreadPoolExecutor

import servers
from clients import Python, context, path
from servers import PORTS, WORK, Apache, Daemon, answers, until

STREAMS = 100
AT_ONCE = 10
ROUNDS = 3
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
    tls = context()
    client = Python(site, tls=tls)
    answer = client.ask(where).read_to_end()
    client.close()
    assert answer.status == 200 and b"data: [DONE]\n\n" in answer.body, answer


def measure(site, where):
    before = seconds()
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda _: ask(site, where), range(STREAMS)))
    after = seconds()
    return {name: (after[name] - before[name]) * 1000 / STREAMS for name in NAMES}


@case
def measured():
    os.system("modprobe tls && cp /bin/busybox /usr/sbin/modprobe")
    mock = Daemon("mock", "--delay", "20").start()
    apache = Apache("main", ["plain", "tls"]).start()
    nginx = start_nginx()
    where = path(mock)
    ask("tls", where)
    ask("nginx", where)
    rows = {"tls": [], "nginx": []}
    # In turns: what else this machine does hits both alike.
    for _ in range(ROUNDS):
        for site, taken in rows.items():
            taken.append(measure(site, where))
    print(f"CPU a stream of 18 events, each over a connection of its own, {ROUNDS} x {STREAMS} streams, ms:")
    for site, taken in rows.items():
        each = {name: sorted(row[name] for row in taken)[ROUNDS // 2] for name in NAMES}
        parts = ", ".join(f"{name} {ms:.1f}" for name, ms in each.items() if ms > 0)
        what = "TLS in Apache and the kernel" if site == "tls" else "nginx ends TLS in front"
        print(f"  {what:30} {sum(each.values()):6.1f}   ({parts})", flush=True)
    os.kill(nginx.pid, signal.SIGTERM)
    apache.stop()
    mock.stop()


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
        ssl_certificate /vm/certificates/a.pem;
        ssl_certificate_key /vm/certificates/a.key;
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
