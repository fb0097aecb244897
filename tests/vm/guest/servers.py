"""The servers of the virtual machine: Apache with both modules, and the daemon."""
import glob
import os
import socket
import subprocess
import threading
import time

HERE = "/vm"
WORK = "/tmp/work"
SOCKETS = "/run/daemon"
MODULES = "/usr/lib/apache2/modules"
PATIENCE_S = 180

# A port for each way in which a site may have TLS.
PORTS = {
    "plain": 8080,
    "tls": 8443,
    "tickets0": 8500,
    "tickets2": 8502,
    "tickets8": 8508,
    "client_certificate": 8450,
    "off": 8451,
    "any_cipher": 8452,
    "no_tickets": 8453,
    "wrong_number": 8460,
    "event": 8461,
    "asan": 8462,
    "late": 8463,
    "late_page": 8464,
    "watched": 8465,
    "browser": 8466,
    "http2": 8467,
}

# A site over HTTP/2, but for what is handed over.
HTTP2 = """
    Protocols h2 http/1.1
    <Location /handoff.php>
        SocketHandoffRequireHttp11 On
    </Location>"""


def until(condition, what):
    """Waits for a condition, with a bound."""
    end = time.monotonic() + PATIENCE_S
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"did not happen: {what() if callable(what) else what}")
        time.sleep(0.02)


def answers(port):
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
        return True
    except OSError:
        return False


def read(path):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except (FileNotFoundError, ProcessLookupError):
        return ""


class Apache:
    """One httpd in the foreground: prefork with mod_php, or event with php-fpm."""

    def __init__(self, name, ports, mpm="prefork", environment=None, settings="", modules=HERE, pages=None,
                 workers=40):
        self.name = name
        self.root = f"{WORK}/{name}"
        self.log = f"{self.root}/error.log"
        self.process = None
        self.fpm = None
        self.mpm = mpm
        self.ports = ports
        self.settings = settings
        self.modules = modules
        self.pages = pages or {}
        self.workers = workers
        self.environment = dict(os.environ, **(environment or {}))
        os.makedirs(self.root, exist_ok=True)
        with open(f"{self.root}/httpd.conf", "w", encoding="utf-8") as file:
            file.write(self.configuration())

    def configuration(self):
        load = ["authz_core", "env", "mime", "reqtimeout", "ssl", "socache_shmcb", "headers", f"mpm_{self.mpm}"]
        if self.mpm == "event":
            load += ["proxy", "proxy_fcgi", "http2"]
        lines = [f"LoadModule {name}_module {MODULES}/mod_{name}.so" for name in load]
        if self.mpm == "prefork":
            lines.append(f"LoadModule php_module {glob.glob(MODULES + '/libphp*.so')[0]}")
            workers = f"StartServers {min(4, self.workers)}\nServerLimit {self.workers}\nMaxRequestWorkers {self.workers}"
            handler = "application/x-httpd-php"
        else:
            workers = "StartServers 1\nServerLimit 1\nThreadsPerChild 40\nMaxRequestWorkers 40"
            handler = f'"proxy:unix:{self.root}/fpm.sock|fcgi://localhost/"'
        lines += [f"LoadModule socket_handoff{name}_module {self.modules}/mod_socket_handoff{name}.so" for name in ("", "_tls")]
        return "\n".join(lines) + f"""
ServerRoot {self.root}
DefaultRuntimeDir {self.root}
PidFile {self.root}/httpd.pid
ErrorLog {self.log}
LogLevel info socket_handoff:debug
User www-data
Group www-data
ServerName a.test
{workers}
TypesConfig /dev/null
AddType text/html .html
DocumentRoot {HERE}/www
SSLRandomSeed startup builtin
SSLSessionCache shmcb:{self.root}/sessions(512000)
SSLCertificateFile {HERE}/certificates/a.pem
SSLCertificateKeyFile {HERE}/certificates/a.key
SSLCACertificateFile {HERE}/certificates/authority.pem
Mutex file:{self.root}
KeepAliveTimeout 60
MaxKeepAliveRequests 0
RequestReadTimeout header=60 body=60
<Directory />
    Require all granted
</Directory>
<FilesMatch "\\.php$">
    SetHandler {handler}
</FilesMatch>
{self.settings}
""" + "\n".join(self.host(name) for name in self.ports)

    def host(self, name):
        port = PORTS[name]
        b_test = f"SSLCertificateFile {HERE}/certificates/b.pem\nSSLCertificateKeyFile {HERE}/certificates/b.key"
        settings = {
            "tickets0": "SSLOpenSSLConfCmd NumTickets 0",
            "tickets2": "SSLOpenSSLConfCmd NumTickets 2",
            "tickets8": "SSLOpenSSLConfCmd NumTickets 8",
            "client_certificate": f"""
                SSLVerifyClient none
                <Location /handoff.php>
                    SSLVerifyClient require
                </Location>""",
            "off": "SocketHandoffTls Off",
            "asan": "SSLCipherSuite TLSv1.3 TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_CCM_SHA256",
            "any_cipher": """
                SSLProtocol all -SSLv3
                SSLCipherSuite ALL:@SECLEVEL=0
                SSLCipherSuite TLSv1.3 TLS_AES_128_CCM_SHA256""",
            "no_tickets": "SSLSessionTickets Off",
            "http2": HTTP2,
            "browser": HTTP2,
        }.get(name, self.pages.get(name, ""))
        engine = "" if name == "plain" else "SSLEngine On"
        address = "0.0.0.0" if name == "browser" else "127.0.0.1"
        hosts = f"Listen {address}:{port}\n<VirtualHost *:{port}>\nServerName a.test\n{engine}\n{settings}\n</VirtualHost>\n"
        if name in ("tls", "tickets0", "tickets8"):
            hosts += f"<VirtualHost *:{port}>\nServerName b.test\n{engine}\n{b_test}\n</VirtualHost>\n"
        return hosts

    def start(self):
        if self.mpm == "event":
            self.start_fpm()
        self.process = subprocess.Popen(
            ["/usr/sbin/apache2", "-f", f"{self.root}/httpd.conf", "-DFOREGROUND"],
            env=self.environment, start_new_session=True, stderr=open(f"{self.root}/stderr", "w", encoding="utf-8"))
        until(lambda: self.process.poll() is not None or all(answers(PORTS[name]) for name in self.ports),
              lambda: f"{self.name} does not answer: {read(self.log)}")
        assert self.process.poll() is None, f"{self.name} ended: {read(self.root + '/stderr')}{read(self.log)}"
        return self

    def start_fpm(self):
        with open(f"{self.root}/fpm.conf", "w", encoding="utf-8") as file:
            file.write(f"""
[global]
error_log = {self.root}/fpm.log
[www]
user = www-data
group = www-data
listen = {self.root}/fpm.sock
listen.owner = www-data
pm = static
pm.max_children = 4
""")
        self.fpm = subprocess.Popen([glob.glob("/usr/sbin/php-fpm[0-9]*")[0], "-n", "-F", "-y", f"{self.root}/fpm.conf"],
                                    stderr=subprocess.DEVNULL)
        until(lambda: os.path.exists(f"{self.root}/fpm.sock"), "php-fpm listens")

    def check(self):
        """What configtest says."""
        return subprocess.run(["/usr/sbin/apache2", "-f", f"{self.root}/httpd.conf", "-t"],
                              env=self.environment, capture_output=True, text=True, check=False).stderr

    def signal(self, number):
        os.kill(self.process.pid, number)

    def children(self):
        """The processes of its workers."""
        stats = {pid: read(f"/proc/{pid}/stat").rpartition(")")[2].split() for pid in os.listdir("/proc") if pid.isdigit()}
        return [int(pid) for pid, stat in stats.items() if stat and int(stat[1]) == self.process.pid]

    def stop(self):
        for process in (self.process, self.fpm):
            if process is not None and process.poll() is None:
                process.terminate()
                process.wait(PATIENCE_S)


class Daemon:
    """The daemon's AOT binary, on a socket of its own."""

    def __init__(self, name, *arguments, metrics=None, environment=None):
        self.name = name
        self.socket = f"{SOCKETS}/{name}.sock"
        self.log = f"{WORK}/{name}.log"
        self.metrics = metrics
        self.arguments = ["--socket", self.socket, "--socket-mode", "0666", *arguments]
        if metrics:
            self.arguments += ["--metrics", str(metrics)]
        self.environment = dict(os.environ, **(environment or {}))
        self.process = None

    def start(self, *more):
        os.makedirs(SOCKETS, exist_ok=True)
        before = read(self.log).count('"Name":"Listening"')
        self.process = subprocess.Popen([f"{HERE}/streaming-daemon", *self.arguments, *more], env=self.environment,
                                        stdout=open(self.log, "a", encoding="utf-8"), stderr=subprocess.STDOUT)
        until(lambda: self.process.poll() is not None or read(self.log).count('"Name":"Listening"') > before,
              lambda: f"{self.name}: {read(self.log)}")
        assert self.process.poll() is None, f"{self.name} ended: {read(self.log)}"
        return self

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE_S)


class Listener:
    """At the place of a daemon: it takes connections and closes them, unread. With a number, it is gone after as many."""

    def __init__(self, name, connections=None):
        self.socket = f"{SOCKETS}/{name}.sock"
        self.connections = connections
        self.listener = None
        self.thread = None

    def __enter__(self):
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.listener.bind(self.socket)
        os.chmod(self.socket, 0o666)
        self.listener.listen(16)
        self.thread = threading.Thread(target=self.close_each, daemon=True)
        self.thread.start()
        return self

    def close_each(self):
        taken = 0
        while self.connections is None or taken < self.connections:
            try:
                connection = self.listener.accept()[0]
            except OSError:
                return
            taken += 1
            if taken == self.connections:
                self.end()
            connection.close()

    def end(self):
        if os.path.exists(self.socket):
            os.remove(self.socket)
        self.listener.close()

    def __exit__(self, *_):
        try:
            # Wakes the thread.
            self.listener.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass
        self.thread.join(PATIENCE_S)
        self.end()
