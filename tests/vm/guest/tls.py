"""What handing over TLS connections promises: each function is a claim."""
import hashlib
import json
import os
import re
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor

import servers
from clients import Answer, Python, context, curl, curl_gnutls, gnutls_cli, path, post, request_text, s_client
from memory import copies, keys_of, sending_key
from servers import PORTS, Apache, Daemon, Listener, read, until
from upstream import PORT as UPSTREAM_PORT
from upstream import Upstream

SITES = ["plain", "tls", "tickets0", "tickets2", "tickets8", "client_certificate", "off", "any_cipher", "no_tickets"]

# The emulated machine may take long to send a megabyte that nobody reads.
mock = Daemon("mock", "--delay", "20", metrics=9090, environment={"STREAMING_DAEMON_TIMEOUTS__DRAIN_TIMEOUT_MS": "20000"})
model = Daemon("model", "--backend", "openai", metrics=9091, environment={
    "OPENAI_API_BASE": f"http://127.0.0.1:{UPSTREAM_PORT}/v1", "OPENAI_API_KEY": "k", "OPENAI_MODEL": "m",
    # A busy machine takes a while to begin two hundred streams.
    "STREAMING_DAEMON_TIMEOUTS__IDLE_TIMEOUT_MS": "600000", "STREAMING_DAEMON_TIMEOUTS__STREAM_TIMEOUT_MS": "0"})
apache = Apache("main", SITES)
state = {}
cases = []


def case(function):
    """Marks a claim. They run in the order in which they stand here."""
    cases.append(function)
    return function


def logs():
    """The ends of the logs, for a case that failed."""
    return "".join(f"\n--- {log}\n{read(log)[-2500:]}" for log in (apache.log, mock.log, model.log))


def check(answer, expected=None):
    expected = expected or state["expected"]
    assert answer.status == 200, answer
    assert not answer.error, answer
    assert answer.body == expected.body, f"{len(answer.body)} bytes, not {len(expected.body)}: {answer}"


def handed_over(log=None):
    return len(re.findall("client handed to", read(log or apache.log)))


# ---- a kernel without TLS ---------------------------------------------------


@case
def configtest_and_start_say_that_the_kernel_has_no_tls():
    assert "modprobe tls" in apache.check()
    mock.start()
    model.start()
    state["upstream"] = Upstream()
    apache.start()
    until(lambda: "modprobe tls" in read(apache.log), lambda: read(apache.log))


@case
def plain_stream_has_18_events():
    answer = curl("plain", path(mock))
    assert answer.status == 200 and not answer.error, answer
    assert answer.body.count(b"data: {") == 18 and answer.body.endswith(b"data: [DONE]\n\n"), answer
    state["expected"] = answer


@case
def without_kernel_tls_the_answer_is_500_and_the_log_says_what_is_missing():
    answer = curl("tls", path(mock), "-H", "Accept: application/json")
    assert answer.status == 500 and not answer.error, answer
    assert json.loads(answer.body)["error"]["code"] == "handoff_failed"
    assert "the kernel has no TLS for sending: modprobe tls" in read(apache.log)
    assert b"server=none" in curl("tls", "/environment.php").body, "PHP is told that it can hand over"


@case
def modprobe_is_enough_without_a_restart():
    # From now on the kernel loads by itself what it needs, as on a machine with an administrator.
    shutil.copy("/bin/busybox", "/usr/sbin/modprobe")
    subprocess.run(["modprobe", "tls"], check=True)
    check(curl("tls", path(mock)))
    assert b"server=1" in curl("tls", "/environment.php").body


@case
def configtest_and_start_say_that_the_kernel_can():
    assert "the kernel can send TLS" in apache.check()
    apache.signal(signal.SIGUSR1)
    until(lambda: "the kernel can send TLS" in read(apache.log), lambda: read(apache.log))


# ---- clients ----------------------------------------------------------------


@case
def curl_with_openssl_reads_18_events_and_a_clean_end():
    check(curl("tls", path(mock)))


@case
def curl_with_gnutls_reads_18_events_and_a_clean_end():
    check(curl_gnutls("tls", path(mock)))


@case
def openssl_s_client_reads_18_events_and_a_clean_end():
    check(s_client("tls", request_text(path(mock))))


@case
def gnutls_cli_reads_18_events_and_a_clean_end():
    check(gnutls_cli("tls", request_text(path(mock))))


@case
def python_reads_18_events_and_a_clean_end():
    check(Python().ask(path(mock)).read_to_end())


@case
def events_come_one_by_one():
    """Not all at once at the end: each is a record of its own, read before the next."""
    client = Python().ask(path(mock))
    client.read_head()
    sizes = []
    while part := client.socket.recv(65536):
        sizes.append(len(part))
    assert len(sizes) > 10, sizes


@case
def access_log_and_metric_tell_tls_clients():
    def count():
        metrics = urllib.request.urlopen(f"http://127.0.0.1:{mock.metrics}/metrics", timeout=10).read().decode()
        return float(re.search(r"^streaming_daemon_tls_clients_total (\S+)$", metrics, re.M)[1])
    before = count()
    check(curl("tls", path(mock, data='{"prompt":"hello","request_id":"over-tls"}')))
    check(curl("plain", path(mock, data='{"prompt":"hello","request_id":"in-plain"}')))
    until(lambda: '"RequestId":"in-plain"' in read(mock.log) and '"RequestId":"over-tls"' in read(mock.log), "logged")
    tls = {line["RequestId"]: line["Tls"] for line in map(json.loads, read(mock.log).splitlines()) if "RequestId" in line}
    assert tls["over-tls"] is True and tls["in-plain"] is False, tls
    assert count() == before + 1


# ---- versions, ciphers, sessions --------------------------------------------


@case
def each_cipher_of_tls_1_3():
    for cipher in ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"):
        check(curl("tls", path(mock), "--tlsv1.3", "--tls13-ciphers", cipher))


@case
def each_cipher_of_tls_1_2():
    for cipher in ("ECDHE-RSA-AES128-GCM-SHA256", "ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305",
                   "DHE-RSA-AES128-GCM-SHA256", "AES256-GCM-SHA384"):
        check(curl("tls", path(mock), "--tls-max", "1.2", "--ciphers", cipher))


@case
def each_cipher_of_tls_1_2_with_an_ecdsa_key():
    for cipher in ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"):
        check(curl("tls", path(mock), "--tls-max", "1.2", "--ciphers", cipher, host="b.test"))


@case
def tls_1_2_without_extended_master_secret():
    with open("/tmp/no-ems.cnf", "w", encoding="utf-8") as file:
        file.write("openssl_conf = a\n[a]\nssl_conf = b\n[b]\nsystem_default = c\n[c]\nOptions = -ExtendedMasterSecret\n")
    os.environ["OPENSSL_CONF"] = "/tmp/no-ems.cnf"
    try:
        check(s_client("tls", request_text(path(mock)), "-tls1_2"))
    finally:
        del os.environ["OPENSSL_CONF"]


@case
def tickets_0_2_and_8():
    for site in ("tickets0", "tickets2", "tickets8"):
        check(curl(site, path(mock)))
        check(Python(site).ask(path(mock)).read_to_end())


@case
def sni_chooses_among_certificates():
    for host in ("a.test", "b.test"):
        tls = context()
        tls.load_verify_locations(f"/vm/certificates/{host[0]}.pem")
        tls.verify_mode = ssl.CERT_REQUIRED
        tls.check_hostname = True
        check(Python(host=host, tls=tls).ask(path(mock), host=host).read_to_end())


@case
def resumed_sessions_of_tls_1_3():
    resumed(context(least=ssl.TLSVersion.TLSv1_3), "tls")


@case
def resumed_sessions_of_tls_1_2_with_tickets():
    resumed(context(most=ssl.TLSVersion.TLSv1_2), "tls")


@case
def resumed_sessions_of_tls_1_2_from_the_cache():
    resumed(context(most=ssl.TLSVersion.TLSv1_2), "no_tickets")


def resumed(tls, site):
    first = Python(site, tls=tls)
    check(first.ask(path(mock)).read_to_end())
    for _ in range(2):
        again = Python(site, tls=tls, session=first.socket.session)
        assert again.socket.session_reused
        check(again.ask(path(mock)).read_to_end())
        first = again


@case
def client_certificate_of_the_handshake_after_the_request():
    """TLS 1.2 negotiates again, TLS 1.3 asks after the handshake: both change what the module counts."""
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        tls = context(most=most)
        tls.post_handshake_auth = True
        tls.load_cert_chain("/vm/certificates/client.pem", "/vm/certificates/client.key")
        client = Python("client_certificate", tls=tls)
        assert client.ask("/plain.html").read_answer().body == b"plain\n"
        check(client.ask(path(mock)).read_to_end())
    answer = curl("client_certificate", path(mock))
    assert answer.status in (0, 403), answer


@case
def keep_alive_connection_with_earlier_requests():
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = Python(tls=context(most=most))
        for where in ("/plain.html", "/environment.php", "/large.html", "/plain.html"):
            assert client.ask(where).read_answer().status == 200
        check(client.ask(path(mock)).read_to_end())


@case
def request_that_is_pipelined_behind_another():
    client = Python().send(request_text("/plain.html") + request_text(path(mock)))
    assert client.read_answer().body == b"plain\n"
    check(client.read_to_end())


@case
def clients_that_ask_for_new_keys():
    """s_client's K: a KeyUpdate that wants one in return."""
    process = subprocess.Popen(
        ["openssl", "s_client", "-connect", f"127.0.0.1:{PORTS['tls']}", "-servername", "a.test", "-tls1_3"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, bufsize=0)
    output = b""

    def until_output(text):
        nonlocal output
        while text not in output:
            part = os.read(process.stdout.fileno(), 65536)
            assert part, output
            output += part
    until_output(b"Verify return code")
    for _ in range(2):
        process.stdin.write(b"K\n")
        until_output(b"KEYUPDATE")
        output = b""
        process.stdin.write(request_text("/plain.html"))
        until_output(b"plain\n")
        output = b""
    process.stdin.write(request_text(path(mock)))
    while part := os.read(process.stdout.fileno(), 65536):
        output += part
    process.stdin.close()
    assert state["expected"].body in output, output
    assert b"error" not in output.lower(), output
    process.wait(servers.PATIENCE_S)


# ---- how streams run and end ------------------------------------------------


@case
def two_hundred_at_once():
    before = handed_over()
    clients = []
    for number in range(200):
        site = ("tls", "tickets0", "tickets8")[number % 3]
        most = ssl.TLSVersion.TLSv1_2 if number % 4 == 0 else ssl.TLSVersion.TLSv1_3
        clients.append(Python(site, "b.test", context(most=most)).ask(path(model, f"do:wait {number}"), host="b.test"))
    until(lambda: handed_over() == before + 200, lambda: f"{handed_over() - before} handed over")
    state["upstream"].go_on.set()
    for client in clients:
        answer = client.read_to_end()
        assert answer.status == 200 and answer.body.endswith(b"data: [DONE]\n\n"), answer
        assert b'"first "' in answer.body and b'"last"' in answer.body, answer
    state["upstream"].go_on.clear()


@case
def slow_reader_gets_everything_and_a_clean_end():
    """Its socket's buffers are full at the end of the stream: the last record and close_notify wait for room."""
    expected = hashlib.sha256(curl("plain", path(model, "do:much:700")).body).hexdigest()
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = Python(tls=context(most=most), receive_buffer=4096).ask(path(model, "do:much:700"))
        client.read_head()
        seen = hashlib.sha256()
        while part := client.socket.recv(3000):
            seen.update(part)
            time.sleep(0.001)
        assert seen.hexdigest() == expected


@case
def readers_of_tiny_windows_get_everything_and_a_clean_end():
    """The kernel queues records that TCP has no room for. A FIN that comes before they are sent would drop them."""
    def read_slowly(kilobytes):
        client = Python(receive_buffer=1152).ask(path(model, f"do:much:{kilobytes}"))
        client.read_head()
        last = b""
        while part := client.socket.recv(2000):
            last = (last + part)[-32:]
            time.sleep(0.001)
        assert last.endswith(b"data: [DONE]\n\n"), last
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read_slowly, range(200, 216)))


@case
def answer_of_a_megabyte_is_whole():
    check(curl("tls", path(model, "do:much:1500")), curl("plain", path(model, "do:much:1500")))


@case
def client_that_leaves_cancels_the_upstream():
    for leave in ("close", "reset"):
        state["upstream"].cancelled.clear()
        client = Python().ask(path(model, data=json.dumps({"prompt": "do:forever", "request_id": f"gone-{leave}"})))
        client.read_head()
        if leave == "reset":
            client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        client.close()
        assert state["upstream"].cancelled.wait(servers.PATIENCE_S)
        until(lambda: f'"RequestId":"gone-{leave}"' in read(model.log), "logged")
        line = next(l for l in read(model.log).splitlines() if f'"RequestId":"gone-{leave}"' in l)
        assert '"Outcome":"ClientGone"' in line, line


@case
def errors_are_statuses_with_a_clean_end():
    for data, daemon, status in (("{", mock, 400), ('{"prompt":"do:refuse:401"}', model, 502),
                                 ('{"prompt":"do:refuse:429"}', model, 503), ('{"format":"none","prompt":"x"}', mock, 400)):
        answer = Python().ask(path(daemon, data=data)).read_to_end()
        assert answer.status == status and b'"error"' in answer.body, answer


@case
def refused_client_of_a_full_daemon_gets_a_clean_end():
    full = Daemon("full", "--max-connections", "1", "--delay", "1000").start()
    first = Python().ask(path(full))
    first.read_head()
    answer = Python().ask(path(full)).read_to_end()
    assert answer.status == 503 and b'"error"' in answer.body, answer
    first.close()
    full.stop()


@case
def error_after_the_head_is_an_event_with_a_clean_end():
    for how, last in (("cut", b": the upstream ended early\n\n"), ("fail", b'"request_id":"r"}\n\n')):
        answer = Python().ask(path(model, f"do:{how}:3")).read_to_end()
        assert answer.status == 200 and answer.body.count(b'"content"') == 3, answer
        assert answer.body.endswith(last) and b"[DONE]" not in answer.body, answer


@case
def streams_that_the_daemon_breaks_off_end_with_close_notify():
    """Those that run when the time of a drain is over."""
    broken = Daemon("broken", "--delay", "5000", environment={"STREAMING_DAEMON_TIMEOUTS__SHUTDOWN_TIMEOUT_S": "1"}).start()
    client = Python().ask(path(broken))
    client.read_head()
    broken.process.terminate()
    assert b"[DONE]" not in client.read_to_end_of_body()


@case
def unread_megabyte_of_a_post_does_not_hurt_the_answer():
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        check(post("tls", path(mock), bytes(1_000_000), context(most=most)))


@case
def restart_of_the_daemon_loses_no_stream():
    first = Daemon("restart", "--delay", "100").start()
    before = handed_over()
    with ThreadPoolExecutor(6) as pool:
        asked = [pool.submit(curl, "tls", path(first)) for _ in range(3)]
        until(lambda: handed_over() >= before + 3, "handed over")
        second = Daemon("restart", "--delay", "20").start("--takeover")
        first.process.terminate()
        asked += [pool.submit(curl, "tls", path(second)) for _ in range(3)]
        for answer in asked:
            check(answer.result())
    assert first.process.wait(servers.PATIENCE_S) == 0
    second.stop()


@case
def restart_of_httpd_loses_no_stream():
    slow = Daemon("slow", "--delay", "150").start()
    before = handed_over()
    with ThreadPoolExecutor(1) as pool:
        asked = pool.submit(curl, "tls", path(slow))
        until(lambda: handed_over() > before, "handed over")
        apache.stop()
        apache.start()
        check(asked.result())
    check(curl("tls", path(mock)))
    slow.stop()


# ---- what is refused --------------------------------------------------------


@case
def off_is_500_and_the_log_says_so():
    answer = curl("off", path(mock))
    assert answer.status == 500 and not answer.error, answer
    assert "SocketHandoffTls is Off" in read(apache.log)
    assert b"server=none" in curl("off", "/environment.php").body


@case
def ciphers_that_the_kernel_cannot_are_refused_before_anything_changes():
    for arguments in (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-SHA256"], ["-tls1_2", "-cipher", "AES256-CCM"],
                      ["-ciphersuites", "TLS_AES_128_CCM_SHA256"]):
        answer = s_client("any_cipher", request_text(path(mock)), *arguments)
        assert answer.status == 500 and not answer.error and b"handoff_failed" in answer.body, answer
    assert "cannot send with the cipher of this connection" in read(apache.log)


@case
def records_of_a_negotiated_length_are_refused():
    answer = s_client("tls", request_text(path(mock), close=True), "-maxfraglen", "1024")
    assert answer.status == 500 and not answer.error, answer
    assert "short TLS records" in read(apache.log)


@case
def without_a_daemon_httpd_answers_as_always():
    answer = Python().ask(path(Daemon("nobody"))).read_to_end()
    assert answer.status == 503 and b"daemon_unavailable" in answer.body, answer


@case
def handoff_longer_than_a_message_is_answered_by_the_daemon():
    """300 KB that are no JSON go in memory of their own, and the daemon's refusal has a clean end."""
    where = "/handoff.php?bytes=300000&socket=" + mock.socket
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        answer = Python(tls=context(most=most)).ask(where).read_to_end()
        assert answer.status == 400 and b"bad_handoff" in answer.body, answer
    answer = curl_gnutls("tls", where)
    assert answer.status == 400 and not answer.error and answer.body.endswith(b"}}\n"), answer


@case
def handoff_that_fails_after_the_kernel_has_the_key_is_answered_by_httpd_over_it():
    """A listener that closes each connection unread. The error page is plain text that the kernel encrypts."""
    page = "ErrorDocument 500 /large.html"
    late = Apache("late", ["late", "late_page"], environment={"LD_PRELOAD": "/vm/late-sendmsg.so", "LATE_SENDMSG": "1"},
                  pages={"late_page": page}).start()
    with Listener("closes") as closes:
        for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            answer = Python("late", tls=context(most=most)).ask(path(closes)).read_to_end()
            assert answer.status == 500 and b"handoff_failed" in answer.body, answer
            answer = Python("late_page", tls=context(most=most)).ask(path(closes)).read_to_end()
            assert answer.status == 500 and answer.body == b"l" * 300_000, answer
        answer = curl_gnutls("late", path(closes))
        assert answer.status == 500 and b"Internal Server Error" in answer.body and not answer.error, answer
        answer = post("late", path(closes), bytes(1_000_000), context())
        assert answer.status == 500, answer
        tls = context(least=ssl.TLSVersion.TLSv1_3)
        first = Python("late", tls=tls).ask(path(closes))
        assert first.read_to_end().status == 500
        again = Python("late", tls=tls, session=first.socket.session)
        assert again.socket.session_reused
        check(again.ask("/plain.html").read_answer(), Answer(200, b"plain\n"))
    assert read(late.log).count("connecting again") >= 2, "Each was refused once, and not again"
    assert "cannot send" in read(late.log), read(late.log)
    late.stop()


@case
def daemon_that_is_gone_after_the_kernel_has_the_key_is_a_503():
    """It closes the first connection unread, and then its socket: the second attempt finds nobody."""
    late = Apache("late", ["late"], environment={"LD_PRELOAD": "/vm/late-sendmsg.so", "LATE_SENDMSG": "1"}).start()
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with Listener("ends", connections=1) as ends:
            answer = Python("late", tls=context(most=most)).ask(path(ends)).read_to_end()
            assert answer.status == 503 and b"daemon_unavailable" in answer.body, answer
    late.stop()


# ---- secrets ----------------------------------------------------------------


@case
def sslkeylogfile_still_works_and_no_secret_is_in_a_log():
    """Also: the event MPM with php-fpm, and all messages of the modules."""
    keys = "/tmp/keylog"
    event = Apache("event", ["event"], mpm="event", environment={"SSLKEYLOGFILE": keys},
                   settings="LogLevel trace8").start()
    check(curl("event", path(mock)))
    check(curl("event", path(mock), "--tls-max", "1.2"))
    event.stop()
    lines = read(keys).splitlines()
    assert any(line.startswith("SERVER_TRAFFIC_SECRET_0 ") for line in lines), lines
    assert any(line.startswith("CLIENT_RANDOM ") for line in lines), lines
    for line in lines:
        assert line.split()[2] not in read(event.log).lower(), line


@case
def client_that_came_over_http2_streams_over_http11():
    site = Apache("http2", ["http2"], mpm="event").start()
    page = curl("http2", "/plain.html", "--http2", "-i")
    assert page.body.startswith(b"HTTP/2 200"), page
    check(curl("http2", path(mock), "--http2"))
    check(curl("http2", path(mock), "--http2", "-d", "a=b"))
    assert handed_over(site.log) == 2, read(site.log)
    site.stop()


@case
def secret_is_in_httpds_memory_until_the_handoff_and_not_longer():
    """Beside OpenSSL's own copies, which the same httpd has without handing over: those are counted with SocketHandoffTls Off."""
    os.makedirs("/vm/sessions", exist_ok=True)
    os.chmod("/vm/sessions", 0o777)
    before, after = {}, {}
    for settings in ("SocketHandoffTls Off", ""):
        keys = "/tmp/keylog-memory"
        watched = Apache("watched", ["watched"], environment={"SSLKEYLOGFILE": keys}, settings=settings, workers=1).start()
        child = until(watched.children, "a worker")[0]
        idle = until(lambda: descriptors_when_idle(child), "the worker waits")
        client = Python("watched", tls=context(least=ssl.TLSVersion.TLSv1_3))
        client.ask(f"/timing.php?when=end&socket={mock.socket}")
        until(lambda: os.path.exists("/vm/sessions/running"), "the script runs")
        (_, secret), = keys_of(keys).values()
        before[settings] = copies(child, secret)
        assert copies(child, sending_key(secret)) > 0, "This does not find the key that OpenSSL sends with."
        open("/vm/sessions/go", "wb").close()
        answer = client.read_to_end()
        assert answer.status == (500 if settings else 200), answer
        client.close()
        # The socket is the last that goes with a connection. Another connection would overwrite what this one left.
        until(lambda: len(os.listdir(f"/proc/{child}/fd")) == idle, "the connection has ended")
        after[settings] = copies(child, secret), copies(child, sending_key(secret))
        watched.stop()
        for name in ("running", "go", "after", "shutdown"):
            os.remove(f"/vm/sessions/{name}")
        os.remove(keys)
    assert before[""] == before["SocketHandoffTls Off"] + 1, (before, after)
    assert after[""] == after["SocketHandoffTls Off"], (before, after)


def descriptors_when_idle(pid):
    """The number of descriptors of a process that waits in a system call for them."""
    call = read(f"/proc/{pid}/syscall").split()
    waits = call and call[0].isdigit() and int(call[0]) in (7, 43, 232, 271, 281, 288)
    return len(os.listdir(f"/proc/{pid}/fd")) if waits else 0


# ---- memory -----------------------------------------------------------------


@case
def address_sanitizer_finds_nothing():
    for mpm in ("prefork", "event"):
        checked = Apache("asan", ["asan"], mpm=mpm, modules="/vm/asan", environment={
            "LD_PRELOAD": "/vm/asan/libasan.so", "ASAN_OPTIONS": "detect_leaks=0:halt_on_error=1:exitcode=99",
            "SSLKEYLOGFILE": "/tmp/keylog-asan"}).start()
        for cipher in ("TLS_AES_128_GCM_SHA256", "TLS_CHACHA20_POLY1305_SHA256"):
            check(curl("asan", path(mock), "--tls13-ciphers", cipher))
        for cipher in ("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305"):
            check(curl("asan", path(mock), "--tls-max", "1.2", "--ciphers", cipher))
        client = Python("asan").ask("/plain.html")
        client.read_answer()
        check(client.ask(path(mock)).read_to_end())
        assert curl("asan", path(mock), "--tls13-ciphers", "TLS_AES_128_CCM_SHA256").status == 500
        assert curl("asan", path(Daemon("nobody"))).status == 503
        answer = curl_gnutls("asan", "/handoff.php?bytes=300000&socket=" + mock.socket)
        # php-fpm has no header line of 300 KB.
        assert answer.status == (400 if mpm == "prefork" else 500) and not answer.error, answer
        # Before the stop: tests/apache/AddressSanitizerTests.cs says why.
        assert "exit signal" not in read(checked.log), read(checked.log)[-3000:]
        checked.stop()
        said = read(checked.log) + read(f"{checked.root}/stderr")
        assert "client handed to" in said
        assert "AddressSanitizer" not in said, said[-3000:]
        os.remove(checked.log)


# ---- the control ------------------------------------------------------------


@case
def wrong_record_number_fails_at_the_client():
    """What shows that the tests above would see a mistake."""
    wrong = Apache("wrong", ["wrong_number"], environment={"LD_PRELOAD": "/vm/wrong-number.so"}).start()
    for most in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        client = Python("wrong_number", tls=context(most=most)).ask(path(mock))
        try:
            answer = client.read_to_end()
        except ssl.SSLError as error:
            assert "BAD_RECORD_MAC" in str(error) or "DECRYPTION_FAILED" in str(error), error
        else:
            raise AssertionError(answer)
    wrong.stop()
