/* The floor: what the kernel alone charges for delivering one small SSE event
 * to one of N idle client sockets. No parsing, no backend, no timers: one
 * io_uring with batched sends. Prints CPU (user+sys) per event.
 * usage: floor N ROUNDS BYTES tcp|unix uring|write
 * A child process reads and discards everything; only the sender is charged. */
#define _GNU_SOURCE
#include <liburing.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <errno.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <arpa/inet.h>
#include <signal.h>

static void die(const char *s) { perror(s); exit(1); }

static double cpu_seconds(void) {
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec +
           (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

int main(int argc, char **argv) {
    if (argc < 6) { fprintf(stderr, "usage: floor N ROUNDS BYTES tcp|unix uring|write\n"); return 2; }
    int n = atoi(argv[1]), rounds = atoi(argv[2]), bytes = atoi(argv[3]);
    int tcp = !strcmp(argv[4], "tcp"), uring = !strcmp(argv[5], "uring");
    struct rlimit rl;
    if (getrlimit(RLIMIT_NOFILE, &rl)) die("getrlimit");
    rl.rlim_cur = rl.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &rl)) die("setrlimit");
    int *tx = malloc(sizeof(int) * n), *rx = malloc(sizeof(int) * n);
    if (tcp) {
        int l = socket(AF_INET, SOCK_STREAM, 0);
        struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
        socklen_t al = sizeof a;
        if (bind(l, (void *)&a, sizeof a) || listen(l, 4096) || getsockname(l, (void *)&a, &al)) die("listen");
        for (int i = 0; i < n; i++) {
            rx[i] = socket(AF_INET, SOCK_STREAM, 0);
            if (connect(rx[i], (void *)&a, sizeof a)) die("connect");
            tx[i] = accept(l, NULL, NULL);
            int one = 1;
            setsockopt(tx[i], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
        }
    } else {
        for (int i = 0; i < n; i++) {
            int sv[2];
            if (socketpair(AF_UNIX, SOCK_STREAM, 0, sv)) die("socketpair");
            tx[i] = sv[0]; rx[i] = sv[1];
        }
    }
    pid_t reader = fork();
    if (!reader) {
        int ep = epoll_create1(0);
        for (int i = 0; i < n; i++) { close(tx[i]); struct epoll_event e = { EPOLLIN, { .fd = rx[i] } }; epoll_ctl(ep, EPOLL_CTL_ADD, rx[i], &e); }
        struct epoll_event ev[512]; static char buf[65536]; int open = n;
        while (open) {
            int k = epoll_wait(ep, ev, 512, -1);
            for (int i = 0; i < k; i++) { ssize_t r = read(ev[i].data.fd, buf, sizeof buf); if (r <= 0) { close(ev[i].data.fd); open--; } }
        }
        _exit(0);
    }
    for (int i = 0; i < n; i++) close(rx[i]);
    char *msg = malloc(bytes); memset(msg, 'x', bytes);
    struct io_uring ring; struct io_uring_params p = { .flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE, .cq_entries = 8192 };
    if (uring && io_uring_queue_init_params(1024, &ring, &p)) die("queue_init");
    double t0 = cpu_seconds();
    long sent = 0;
    for (int r = 0; r < rounds; r++) {
        if (uring) {
            int queued = 0, done = 0;
            while (done < n) {
                while (queued < n && queued - done < 1024) {
                    struct io_uring_sqe *s = io_uring_get_sqe(&ring);
                    if (!s) break;
                    io_uring_prep_send(s, tx[queued], msg, bytes, MSG_NOSIGNAL);
                    queued++;
                }
                io_uring_submit_and_wait(&ring, 1);
                struct io_uring_cqe *c; unsigned head, k = 0;
                io_uring_for_each_cqe(&ring, head, c) { if (c->res != bytes) { fprintf(stderr, "send: %d\n", c->res); exit(1); } k++; }
                io_uring_cq_advance(&ring, k);
                done += k; sent += k;
            }
        } else {
            for (int i = 0; i < n; i++) { if (send(tx[i], msg, bytes, MSG_NOSIGNAL) != bytes) die("send"); sent++; }
        }
        usleep(50000);
    }
    double t1 = cpu_seconds();
    printf("%s %s n=%d events=%ld cpu_us_per_event=%.3f\n", argv[4], argv[5], n, sent, (t1 - t0) * 1e6 / sent);
    for (int i = 0; i < n; i++) close(tx[i]);
    waitpid(reader, NULL, 0);
    return 0;
}
