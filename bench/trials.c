/* What was tried on top of the floor: floor.c's workload (one small event to each of N idle sockets, from one
 * batched ring, one send in flight a socket, a reader that drains), sent in every way that promised to be
 * cheaper. Each mode runs its variants in turns:
 *
 *   burst   unix|tcp N PASSES BYTES       events that are ready together; the median of so many passes
 *   trickle unix|tcp N EVENTS RATE BYTES  events of another thread, RATE a second, which wakes the loop
 *   close   N CLOSES                      what a stream costs once: its watch taken back, its fd registered
 *
 * One line a variant: name, CPU in microseconds (an event's, or a close's) or "-", remark; tabs between. CPU
 * is user + system of this process, with the kernel threads that work for it (SQPOLL, io-wq): they are in its
 * thread group. The reader is a child and not counted; the thread that makes events is told apart. trials.sh
 * runs all of it in turns with floor.c and prints the table.
 *
 * gcc -O2 bench/trials.c -luring. It compiles against the headers of Linux 6.1; what the kernel does not know
 * at run time has "-" and the error. */
#define _GNU_SOURCE
#include <liburing.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

/* Newer than the headers of 6.1; each under a name of its own, so that newer headers do not clash. */
enum {
    SEND_ZC_REPORT_USAGE = 1 << 3,   /* 6.2,  IORING_SEND_ZC_REPORT_USAGE */
    RECVSEND_BUNDLE = 1 << 4,        /* 6.10, IORING_RECVSEND_BUNDLE */
    REGISTER_SEND_MSG_RING = 31,     /* 6.13, IORING_REGISTER_SEND_MSG_RING */
};
#define NOTIF_USAGE_ZC_COPIED (1u << 31) /* 6.2,  IORING_NOTIF_USAGE_ZC_COPIED */
#define FEAT_MIN_TIMEOUT (1u << 15)      /* 6.12, IORING_FEAT_MIN_TIMEOUT */

/* struct io_uring_getevents_arg: min_wait_usec (6.12) was padding before. */
struct wait_arg { __u64 sigmask; __u32 sigmask_sz, min_wait_usec; __u64 ts; };

enum {
    SQ_ENTRIES = 1024, CQ_ENTRIES = 8192,
    SLOT = 1024,            /* bytes of a socket's own part of the buffer: most events a send x most bytes */
    MOST_EVENTS_A_SEND = 8,
    BUFFERS_A_CLIENT = 8,   /* entries of a client's provided buffer ring */
    PASS_GAP_US = 30000,    /* between passes: idle sockets, a sleeping reader */
    /* A TCP receiver acknowledges its first 16 segments at once, in the sender's time: 6.6 us an event,
     * not 3.5, over loopback. All variants are to run behind that, not the first ones within it. */
    QUICK_ACKS = 20,
    MOST_PASSES = 100,
};

static void die(const char *what) { perror(what); exit(1); }

static void fail(const char *what, int result) { fprintf(stderr, "%s: %d\n", what, result); exit(1); }

static double cpu_of(int who) {
    struct rusage u;
    getrusage(who, &u);
    return u.ru_utime.tv_sec + u.ru_stime.tv_sec + (u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000000ull + t.tv_nsec;
}

static void print_row(const char *name, double us, const char *remark) {
    printf("%s\t%.3f\t%s\n", name, us, remark);
}

static void print_failed(const char *name, int error) {
    printf("%s\t-\t%s: %s\n", name, strerrorname_np(error), strerror(error));
}

/* Another order in each turn: who came before has warmed caches and moved the reader to another core. */
static void shuffle(int *order, int count) {
    for (int i = 0; i < count; i++) {
        int j = rand() % (i + 1);
        order[i] = order[j];
        order[j] = i;
    }
}

/* ---- sockets and their reader ---- */

static int n, bytes;
static int *tx;
static char *slots;              /* n times SLOT bytes: what a daemon has pending for each client */
static _Atomic uint64_t *drained; /* shared with the reader: bytes it has read */
static uint64_t sent;            /* bytes */
static pid_t reader;

static void raise_descriptor_limit(void) {
    struct rlimit r;
    if (getrlimit(RLIMIT_NOFILE, &r)) die("getrlimit");
    r.rlim_cur = r.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &r)) die("setrlimit");
}

static void make_pair(int listener, int pair[2]) {
    if (listener < 0) {
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, pair)) die("socketpair");
        return;
    }
    struct sockaddr_in a;
    socklen_t length = sizeof a;
    if (getsockname(listener, (void *)&a, &length)) die("getsockname");
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    if (pair[1] < 0 || connect(pair[1], (void *)&a, sizeof a)) die("connect");
    pair[0] = accept(listener, NULL, NULL);
    int one = 1;
    if (pair[0] < 0 || setsockopt(pair[0], IPPROTO_TCP, TCP_NODELAY, &one, sizeof one)) die("accept");
}

static int listen_on_loopback(void) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int l = socket(AF_INET, SOCK_STREAM, 0);
    if (l < 0 || bind(l, (void *)&a, sizeof a) || listen(l, 4096)) die("listen");
    return l;
}

static void read_all(const int *rx) {
    static char buffer[65536];
    struct epoll_event events[512];
    int ep = epoll_create1(0), open = n;
    for (int i = 0; i < n; i++) {
        close(tx[i]);
        struct epoll_event e = { EPOLLIN, { .fd = rx[i] } };
        if (epoll_ctl(ep, EPOLL_CTL_ADD, rx[i], &e)) die("epoll_ctl");
    }
    while (open) {
        int ready = epoll_wait(ep, events, 512, -1);
        for (int i = 0; i < ready; i++) {
            ssize_t r = read(events[i].data.fd, buffer, sizeof buffer);
            if (r > 0) { atomic_fetch_add(drained, r); continue; }
            close(events[i].data.fd);
            open--;
        }
    }
}

static void connect_clients(bool tcp) {
    raise_descriptor_limit();
    int *rx = malloc(sizeof(int) * n), listener = tcp ? listen_on_loopback() : -1;
    tx = malloc(sizeof(int) * n);
    drained = mmap(NULL, sizeof *drained, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    slots = mmap(NULL, (size_t)n * SLOT, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (!rx || !tx || drained == MAP_FAILED || slots == MAP_FAILED) die("memory");
    for (int i = 0; i < n; i++) {
        int pair[2];
        make_pair(listener, pair);
        tx[i] = pair[0];
        rx[i] = pair[1];
    }
    reader = fork();
    if (reader < 0) die("fork");
    if (reader == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        read_all(rx);
        _exit(0);
    }
    for (int i = 0; i < n; i++) close(rx[i]);
    free(rx);
    memset(slots, 'x', (size_t)n * SLOT); /* a page that is still missing is no cost of sending */
}

static void send_by_call(int client, int length) {
    if (send(tx[client], slots + (size_t)client * SLOT, length, MSG_NOSIGNAL) != length) die("send");
    sent += length;
}

static void close_clients(void) {
    for (int i = 0; i < n; i++) close(tx[i]);
    waitpid(reader, NULL, 0);
}

/* Until the reader has everything and sleeps again: what it does is not to overlap with the next variant. */
static void settle(void) {
    for (int waits = 0; atomic_load(drained) != sent; waits++) {
        if (waits == 20000) fail("the reader misses bytes after 10 s", (int)(sent - atomic_load(drained)));
        usleep(500);
    }
    usleep(PASS_GAP_US);
}

static void warm_up(void) {
    for (int k = 0; k < QUICK_ACKS; k++)
        for (int i = 0; i < n; i++) send_by_call(i, bytes);
    settle();
}

static int open_ring(struct io_uring *ring, unsigned flags) {
    struct io_uring_params p = { .flags = flags | IORING_SETUP_CQSIZE, .cq_entries = CQ_ENTRIES,
                                 .sq_thread_idle = 1 /* ms */ };
    return io_uring_queue_init_params(SQ_ENTRIES, ring, &p);
}

enum { BATCHED = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN };

/* ---- burst: what is ready together ---- */

struct burst {
    const char *name;
    int events_a_send;
    int (*arm)(struct burst *t); /* registers; negative errno where it cannot */
    void (*prepare)(struct burst *t, struct io_uring_sqe *s, int client); /* NULL: send(2) */
    unsigned ring_flags;
    /* what came of it */
    struct io_uring ring;
    struct io_uring_buf_ring **provided; /* a client's, each */
    int error;
    long notified, copied;
    double us[MOST_PASSES]; /* an event's, of each pass */
};

static char *slot_of(int client) { return slots + (size_t)client * SLOT; }
static int length_of(const struct burst *t) { return t->events_a_send * bytes; }

static void send_plain(struct burst *t, struct io_uring_sqe *s, int client) {
    io_uring_prep_send(s, tx[client], slot_of(client), length_of(t), MSG_NOSIGNAL);
}

static void send_zero_copy(struct burst *t, struct io_uring_sqe *s, int client) {
    io_uring_prep_send_zc(s, tx[client], slot_of(client), length_of(t), MSG_NOSIGNAL, SEND_ZC_REPORT_USAGE);
}

static void send_zero_copy_registered(struct burst *t, struct io_uring_sqe *s, int client) {
    send_zero_copy(t, s, client);
    s->ioprio |= IORING_RECVSEND_FIXED_BUF;
    s->buf_index = 0;
}

static void send_registered(struct burst *t, struct io_uring_sqe *s, int client) {
    send_plain(t, s, client);
    s->ioprio |= IORING_RECVSEND_FIXED_BUF;
    s->buf_index = 0;
}

static void write_registered(struct burst *t, struct io_uring_sqe *s, int client) {
    io_uring_prep_write_fixed(s, tx[client], slot_of(client), length_of(t), 0, 0);
}

static void send_direct_descriptor(struct burst *t, struct io_uring_sqe *s, int client) {
    io_uring_prep_send(s, client, slot_of(client), length_of(t), MSG_NOSIGNAL);
    s->flags |= IOSQE_FIXED_FILE;
}

static void send_bundle(struct burst *t, struct io_uring_sqe *s, int client) {
    struct io_uring_buf_ring *buffers = t->provided[client];
    for (int k = 0; k < t->events_a_send; k++)
        io_uring_buf_ring_add(buffers, slot_of(client) + k * bytes, bytes, k, BUFFERS_A_CLIENT - 1, k);
    io_uring_buf_ring_advance(buffers, t->events_a_send);
    io_uring_prep_send(s, tx[client], NULL, 0, MSG_NOSIGNAL);
    s->ioprio |= RECVSEND_BUNDLE;
    s->flags |= IOSQE_BUFFER_SELECT;
    s->buf_group = client;
}

static int arm_buffer(struct burst *t) {
    struct iovec all = { slots, (size_t)n * SLOT };
    return io_uring_register_buffers(&t->ring, &all, 1);
}

static int arm_files(struct burst *t) { return io_uring_register_files(&t->ring, tx, n); }

/* A group a client: a bundle takes whatever its group holds, in order. A group's ring is a page at least. */
static int arm_bundles(struct burst *t) {
    enum { PAGE = 4096 };
    char *pages = mmap(NULL, (size_t)n * PAGE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (pages == MAP_FAILED) die("mmap");
    t->provided = malloc(sizeof *t->provided * n);
    for (int i = 0; i < n; i++) {
        t->provided[i] = (void *)(pages + (size_t)i * PAGE);
        struct io_uring_buf_reg group = { .ring_addr = (uintptr_t)t->provided[i], .bgid = i,
                                          .ring_entries = BUFFERS_A_CLIENT };
        int r = io_uring_register_buf_ring(&t->ring, &group, 0);
        if (r) return r;
    }
    return 0;
}

static struct burst bursts[] = {
    { "SEND (the floor)", 1, NULL, send_plain, BATCHED },
    { "SEND_ZC", 1, NULL, send_zero_copy, BATCHED },
    { "SEND_ZC, registered buffer", 1, arm_buffer, send_zero_copy_registered, BATCHED },
    { "SEND, registered buffer", 1, arm_buffer, send_registered, BATCHED },
    { "WRITE_FIXED", 1, arm_buffer, write_registered, BATCHED },
    { "SEND, registered file", 1, arm_files, send_direct_descriptor, BATCHED },
    { "bundle of 1 event", 1, arm_bundles, send_bundle, BATCHED },
    { "bundle of 4 events", 4, arm_bundles, send_bundle, BATCHED },
    { "SEND of 2 events", 2, NULL, send_plain, BATCHED },
    { "SEND of 4 events", 4, NULL, send_plain, BATCHED },
    { "SEND of 8 events", 8, NULL, send_plain, BATCHED },
    { "SEND, SQPOLL", 1, NULL, send_plain, IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SQPOLL },
    { "send(2)", 1, NULL, NULL, 0 },
};
enum { BURSTS = sizeof bursts / sizeof *bursts };

/* Takes what has completed; returns how many sends are over, the kernel's hold on their buffers included. */
static int reap_burst(struct burst *t) {
    struct io_uring_cqe *c;
    unsigned head, seen = 0;
    int over = 0;
    io_uring_for_each_cqe(&t->ring, head, c) {
        seen++;
        if (c->flags & IORING_CQE_F_NOTIF) {
            t->notified++;
            t->copied += ((unsigned)c->res & NOTIF_USAGE_ZC_COPIED) != 0;
        } else if (c->res > 0) {
            sent += c->res;
            if (c->res != length_of(t)) fail("short send", c->res);
        } else if (!t->error) {
            t->error = -c->res;
        }
        over += !(c->flags & IORING_CQE_F_MORE);
    }
    io_uring_cq_advance(&t->ring, seen);
    return over;
}

static void burst_over_ring(struct burst *t) {
    for (int queued = 0, done = 0; done < n;) {
        struct io_uring_sqe *s;
        while (queued < n && queued - done < SQ_ENTRIES && (s = io_uring_get_sqe(&t->ring)))
            t->prepare(t, s, queued++);
        /* SQPOLL completes entries before it gives their places back: nothing may be under way here. */
        int r = io_uring_submit_and_wait(&t->ring, queued > done);
        if (r < 0 && r != -EINTR) { errno = -r; die("io_uring_enter"); }
        done += reap_burst(t);
    }
}

static void burst_over_calls(int length) {
    for (int i = 0; i < n; i++) send_by_call(i, length);
}

static double run_burst(struct burst *t) {
    double before = cpu_of(RUSAGE_SELF);
    if (t->prepare) burst_over_ring(t); else burst_over_calls(length_of(t));
    double cpu = cpu_of(RUSAGE_SELF) - before;
    settle();
    return cpu * 1e6 / n / t->events_a_send;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void report_burst(struct burst *t, int passes) {
    char remark[128] = "";
    if (t->error) { print_failed(t->name, t->error); return; }
    if (t->notified)
        snprintf(remark, sizeof remark, "2 completions a send; %ld %% copied all the same",
            100 * t->copied / t->notified);
    qsort(t->us, passes, sizeof *t->us, by_value);
    print_row(t->name, t->us[passes / 2], remark);
}

static void burst_main(int passes) {
    for (int k = 0; k < BURSTS; k++) {
        struct burst *t = &bursts[k];
        if (!t->prepare) continue;
        t->error = -open_ring(&t->ring, t->ring_flags);
        if (!t->error && t->arm) t->error = -t->arm(t);
    }
    if (bursts[0].error) { errno = bursts[0].error; die("io_uring_setup"); }
    /* The first pass touches memory, the kernel's too, and does not count. */
    for (int pass = -1; pass < passes; pass++) {
        int order[BURSTS];
        shuffle(order, BURSTS);
        for (int k = 0; k < BURSTS; k++) {
            struct burst *t = &bursts[order[k]];
            if (!t->error) t->us[pass < 0 ? 0 : pass] = run_burst(t);
        }
    }
    for (int k = 0; k < BURSTS; k++) {
        report_burst(&bursts[k], passes);
        /* Registered files hold the sockets. */
        if (bursts[k].ring.ring_fd) io_uring_queue_exit(&bursts[k].ring);
    }
}

/* ---- trickle: events of another thread, which wakes the loop ---- */

enum waker { EVENTFD, MSG_RING, MSG_RING_WITHOUT_RING };

struct trickle {
    const char *name;
    enum waker waker;
    unsigned min_wait_us;    /* IORING_ENTER_EXT_ARG, 6.12: gathers that long before it returns */
    unsigned timed_wait_us;  /* the same without 6.12: a second enter that waits for a deadline */
    bool beyond_sends;       /* waits for one completion more than it sends: they complete within enter */
    bool awake_in_sends;     /* an enter that sends waits for nothing: who makes events need not wake it */
    bool epoll;
    unsigned ring_flags;
    /* what came of it */
    int error;
    double us; /* an event's */
    char remark[160];
};

static struct trickle trickles[] = {
    { "eventfd", EVENTFD, .ring_flags = BATCHED },
    { "eventfd, sleeps only without sends", EVENTFD, .awake_in_sends = true, .ring_flags = BATCHED },
    { "eventfd, waits beyond its sends", EVENTFD, .beyond_sends = true, .ring_flags = BATCHED },
    { "eventfd, min-wait 50 us", EVENTFD, .min_wait_us = 50, .ring_flags = BATCHED },
    { "eventfd, min-wait 200 us", EVENTFD, .min_wait_us = 200, .ring_flags = BATCHED },
    { "eventfd, min-wait 1000 us", EVENTFD, .min_wait_us = 1000, .ring_flags = BATCHED },
    { "eventfd, second enter of 200 us", EVENTFD, .timed_wait_us = 200, .ring_flags = BATCHED },
    { "MSG_RING", MSG_RING, .ring_flags = BATCHED },
    { "MSG_RING without a ring", MSG_RING_WITHOUT_RING, .ring_flags = BATCHED },
    { "eventfd, SQPOLL", EVENTFD, .ring_flags = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_SQPOLL },
    { "eventfd, epoll and send(2)", EVENTFD, .epoll = true },
};
enum { TRICKLES = sizeof trickles / sizeof *trickles };

#define WAKE_TAG (~0ull)

/* One producer, one consumer: event e is for client e modulo n. */
static struct {
    int total, rate;             /* events, events a second */
    uint64_t *made_ns;           /* when each was made */
    _Atomic int made;
    _Atomic bool sleeping;       /* the loop's word that it has to be woken */
    int eventfd, target;
    const struct trickle *kind;
    _Atomic int failure;         /* errno of a wake */
    long wakes;
    double producer_cpu;
} feed;

static void wake_by_ring(struct io_uring *own) {
    struct io_uring_sqe *s = io_uring_get_sqe(own);
    io_uring_prep_msg_ring(s, feed.target, 0, WAKE_TAG, 0);
    s->flags |= IOSQE_CQE_SKIP_SUCCESS;
    int r = io_uring_submit(own);
    struct io_uring_cqe *c;
    if (r < 0) feed.failure = -r;
    else if (io_uring_peek_cqe(own, &c) == 0) { feed.failure = -c->res; io_uring_cqe_seen(own, c); }
}

static void wake_without_ring(void) {
    struct io_uring_sqe s;
    memset(&s, 0, sizeof s);
    io_uring_prep_msg_ring(&s, feed.target, 0, WAKE_TAG, 0);
    int r = io_uring_register(-1, REGISTER_SEND_MSG_RING, &s, 1);
    if (r < 0) feed.failure = -r;
}

static void wake_loop(struct io_uring *own) {
    feed.wakes++;
    switch (feed.kind->waker) {
    case EVENTFD: if (eventfd_write(feed.eventfd, 1)) feed.failure = errno; break;
    case MSG_RING: wake_by_ring(own); break;
    case MSG_RING_WITHOUT_RING: wake_without_ring(); break;
    }
}

static void *produce(void *unused) {
    struct io_uring own;
    bool ring = feed.kind->waker == MSG_RING;
    prctl(PR_SET_TIMERSLACK, 1);
    if (ring && open_ring(&own, IORING_SETUP_SINGLE_ISSUER)) die("second ring");
    double before = cpu_of(RUSAGE_THREAD);
    uint64_t start = now_ns();
    for (int e = 0; e < feed.total; e++) {
        uint64_t due = start + e * 1000000000ull / feed.rate, now;
        while ((now = now_ns()) < due) {
            struct timespec t = { due / 1000000000, due % 1000000000 };
            clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &t, NULL);
        }
        feed.made_ns[e] = now;
        atomic_store(&feed.made, e + 1); /* then looks at `sleeping`; the loop the other way round */
        if (atomic_load(&feed.sleeping) && atomic_exchange(&feed.sleeping, false)) wake_loop(&own);
        if (feed.failure) break;
    }
    feed.producer_cpu = cpu_of(RUSAGE_THREAD) - before;
    if (ring) io_uring_queue_exit(&own);
    return NULL;
}

/* liburing 2.3 has no call that submits with a min_wait_usec, so the submission queue is published here: its
 * array is the identity, before liburing 2.4 (which fills it once) and after. */
static unsigned publish(struct io_uring *ring) {
    struct io_uring_sq *q = &ring->sq;
    unsigned first = *q->ktail;
    for (unsigned t = first; t != q->sqe_tail; t++) q->array[t & q->ring_mask] = t & q->ring_mask;
    q->sqe_head = q->sqe_tail;
    io_uring_smp_store_release(q->ktail, q->sqe_tail);
    return q->sqe_tail - first;
}

static void enter(struct io_uring *ring, unsigned wait, unsigned min_wait_us, long timeout_ns) {
    struct __kernel_timespec limit = { timeout_ns / 1000000000, timeout_ns % 1000000000 };
    struct wait_arg arg = { .min_wait_usec = min_wait_us, .ts = (uintptr_t)&limit };
    unsigned flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG, submit = publish(ring);
    if (ring->flags & IORING_SETUP_SQPOLL) {
        atomic_thread_fence(memory_order_seq_cst);
        if (IO_URING_READ_ONCE(*ring->sq.kflags) & IORING_SQ_NEED_WAKEUP) flags |= IORING_ENTER_SQ_WAKEUP;
    }
    int r = io_uring_enter2(ring->ring_fd, submit, wait, flags, (void *)&arg, sizeof arg);
    if (r < 0 && r != -ETIME && r != -EINTR && r != -EBUSY) { errno = -r; die("io_uring_enter"); }
}

struct progress { int begun, done; long turns; double *delay_us; uint64_t woken; };

/* A delay ends where its event goes to the kernel, which sends within that very call: when the loop hears of
 * it is another matter, and with min-wait much later. */
static void begin_event(struct progress *p, uint64_t now) {
    p->delay_us[p->begun] = (now - feed.made_ns[p->begun]) / 1e3;
    p->begun++;
}

static void watch_eventfd(struct io_uring *ring, struct progress *p) {
    struct io_uring_sqe *s = io_uring_get_sqe(ring);
    io_uring_prep_read(s, feed.eventfd, &p->woken, sizeof p->woken, 0);
    s->user_data = WAKE_TAG;
}

static void reap_trickle(struct io_uring *ring, struct progress *p) {
    struct io_uring_cqe *c;
    unsigned head, seen = 0;
    bool woken = false;
    io_uring_for_each_cqe(ring, head, c) {
        seen++;
        if (c->user_data == WAKE_TAG) { woken = true; continue; }
        if (c->res != bytes) fail("send", c->res);
        sent += bytes;
        p->done++;
    }
    io_uring_cq_advance(ring, seen);
    if (woken && feed.kind->waker == EVENTFD) watch_eventfd(ring, p);
}

/* A turn of the loop: submits what there is, sleeps only after saying so and looking once more. */
static void turn(struct io_uring *ring, struct progress *p) {
    const struct trickle *t = feed.kind;
    const long second = 1000000000;
    int made = atomic_load(&feed.made), first = p->begun;
    uint64_t now = now_ns();
    /* As many as clients at a time, so that nobody has two sends in flight; one entry stays for the wake. */
    while (p->begun < made && p->begun - p->done < n && io_uring_sq_space_left(ring) > 1) {
        struct io_uring_sqe *s = io_uring_get_sqe(ring);
        io_uring_prep_send(s, tx[p->begun % n], slot_of(p->begun % n), bytes, MSG_NOSIGNAL);
        s->user_data = 0; /* the entry may have been the wake's */
        begin_event(p, now);
    }
    unsigned sends = p->begun - first, wait = t->beyond_sends ? sends + 1 : t->min_wait_us ? SQ_ENTRIES : 1;
    bool sleeps = p->begun < feed.total && !(t->awake_in_sends && sends);
    if (sleeps) atomic_store(&feed.sleeping, true);
    if (!sleeps || p->begun < atomic_load(&feed.made)) wait = !sends && p->done < p->begun;
    enter(ring, wait, wait > 1 ? t->min_wait_us : 0, second);
    p->turns++;
    if (t->timed_wait_us && !sends && wait) {
        enter(ring, SQ_ENTRIES, 0, t->timed_wait_us * 1000l);
        p->turns++;
    }
    atomic_store(&feed.sleeping, false);
    reap_trickle(ring, p);
}

static void loop_over_ring(struct io_uring *ring, struct progress *p) {
    if (feed.kind->waker == EVENTFD) watch_eventfd(ring, p);
    while (p->done < feed.total && !(feed.failure && p->done == p->begun)) turn(ring, p);
}

static void loop_over_epoll(struct progress *p) {
    struct epoll_event e = { EPOLLIN, { .fd = feed.eventfd } };
    int ep = epoll_create1(0);
    if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, feed.eventfd, &e)) die("epoll");
    while (p->begun < feed.total) {
        int made = atomic_load(&feed.made);
        uint64_t now = now_ns();
        while (p->begun < made) {
            send_by_call(p->begun % n, bytes);
            begin_event(p, now);
        }
        if (p->begun == feed.total) break;
        atomic_store(&feed.sleeping, true);
        bool ready = p->begun < atomic_load(&feed.made);
        eventfd_t value;
        if (epoll_wait(ep, &e, 1, ready ? 0 : -1) == 1) eventfd_read(feed.eventfd, &value);
        atomic_store(&feed.sleeping, false);
        p->turns++;
    }
    close(ep);
}

static void run_trickle(struct trickle *t) {
    struct io_uring ring;
    struct progress p = { .delay_us = calloc(feed.total, sizeof(double)) };
    t->error = t->epoll ? 0 : -open_ring(&ring, t->ring_flags);
    if (!t->error && t->min_wait_us && !(ring.features & FEAT_MIN_TIMEOUT)) t->error = EINVAL;
    if (t->error) return;
    feed.kind = t;
    feed.made = feed.failure = feed.wakes = 0;
    feed.eventfd = eventfd(0, 0);
    feed.target = t->epoll ? -1 : ring.ring_fd;
    pthread_t producer;
    double before = cpu_of(RUSAGE_SELF);
    if (pthread_create(&producer, NULL, produce, NULL)) die("pthread_create");
    if (t->epoll) loop_over_epoll(&p); else loop_over_ring(&ring, &p);
    pthread_join(producer, NULL);
    double loop = cpu_of(RUSAGE_SELF) - before - feed.producer_cpu;
    if (!t->epoll) io_uring_queue_exit(&ring);
    close(feed.eventfd);
    t->error = feed.failure;
    t->us = loop * 1e6 / feed.total;
    qsort(p.delay_us, feed.total, sizeof(double), by_value);
    double events = feed.total;
    snprintf(t->remark, sizeof t->remark,
        "%.2f wakes, %.2f turns an event; producer %.1f us; delay p50 %.0f, p99 %.0f us",
        feed.wakes / events, p.turns / events, feed.producer_cpu * 1e6 / events,
        p.delay_us[feed.total / 2], p.delay_us[feed.total * 99l / 100]);
    free(p.delay_us);
    settle();
}

static void trickle_main(int events, int rate) {
    feed.total = events;
    feed.rate = rate;
    feed.made_ns = calloc(events, sizeof *feed.made_ns);
    int order[TRICKLES];
    shuffle(order, TRICKLES);
    for (int k = 0; k < TRICKLES; k++) run_trickle(&trickles[order[k]]);
    for (int k = 0; k < TRICKLES; k++) {
        const struct trickle *t = &trickles[k];
        if (t->error) print_failed(t->name, t->error); else print_row(t->name, t->us, t->remark);
    }
}

/* ---- close: what a stream costs once ---- */

enum { CLOSES_AT_A_TIME = 16 };

static void cancel_by_fd_all(struct io_uring_sqe *s, int client) {
    io_uring_prep_cancel_fd(s, tx[client], IORING_ASYNC_CANCEL_ALL);
}
static void cancel_by_fd(struct io_uring_sqe *s, int client) { io_uring_prep_cancel_fd(s, tx[client], 0); }
static void cancel_by_user_data(struct io_uring_sqe *s, int client) { io_uring_prep_cancel64(s, client, 0); }

static void submit_and_take(struct io_uring *ring, unsigned completions, int expected) {
    unsigned taken = 0;
    do {
        io_uring_submit_and_wait(ring, completions ? 1 : 0);
        struct io_uring_cqe *c;
        unsigned head, seen = 0;
        io_uring_for_each_cqe(ring, head, c) {
            seen++;
            if (c->res != expected) fail("completion at a close", c->res);
        }
        io_uring_cq_advance(ring, seen);
        taken += seen;
    } while (taken < completions);
}

static void watch_client(struct io_uring *ring, int client) {
    struct io_uring_sqe *s = io_uring_get_sqe(ring);
    if (!s) { submit_and_take(ring, 0, 0); s = io_uring_get_sqe(ring); }
    io_uring_prep_poll_add(s, tx[client], POLLRDHUP);
    s->user_data = client;
}

/* Takes back the watches of some clients all over the table, and watches them again, which is not counted. */
static double cancel_watches(struct io_uring *ring, int closes, void (*prepare)(struct io_uring_sqe *, int)) {
    double cpu = 0;
    int client[CLOSES_AT_A_TIME];
    for (int done = 0; done < closes; done += CLOSES_AT_A_TIME) {
        for (int k = 0; k < CLOSES_AT_A_TIME; k++) client[k] = (int)((done + k) * 7919ll % n);
        double before = cpu_of(RUSAGE_SELF);
        for (int k = 0; k < CLOSES_AT_A_TIME; k++) {
            struct io_uring_sqe *s = io_uring_get_sqe(ring);
            prepare(s, client[k]);
            s->flags |= IOSQE_CQE_SKIP_SUCCESS;
        }
        submit_and_take(ring, CLOSES_AT_A_TIME, -ECANCELED);
        cpu += cpu_of(RUSAGE_SELF) - before;
        for (int k = 0; k < CLOSES_AT_A_TIME; k++) watch_client(ring, client[k]);
        submit_and_take(ring, 0, 0);
    }
    return cpu;
}

/* What a registered file costs beside its sends: into the table at the handoff, out of it at the close. */
static double register_and_remove(struct io_uring *ring, int closes) {
    static int none = -1;
    double before = cpu_of(RUSAGE_SELF);
    for (int done = 0; done < closes; done += CLOSES_AT_A_TIME)
        for (int in = 1; in >= 0; in--) {
            for (int k = 0; k < CLOSES_AT_A_TIME; k++) {
                int client = (done + k) * 7919ll % n;
                io_uring_prep_files_update(io_uring_get_sqe(ring), in ? &tx[client] : &none, 1, client);
            }
            submit_and_take(ring, CLOSES_AT_A_TIME, 1);
        }
    return cpu_of(RUSAGE_SELF) - before;
}

static void close_main(int closes) {
    static const struct { const char *name; void (*prepare)(struct io_uring_sqe *, int); } cancels[] = {
        { "cancel of a watch by fd, all", cancel_by_fd_all },
        { "cancel of a watch by fd", cancel_by_fd },
        { "cancel of a watch by user_data", cancel_by_user_data },
    };
    raise_descriptor_limit();
    closes = (closes + CLOSES_AT_A_TIME - 1) / CLOSES_AT_A_TIME * CLOSES_AT_A_TIME;
    n += n & 1;
    tx = malloc(sizeof(int) * n);
    /* Both ends are watched: half the descriptors. The daemon's CQ: a watch each, and more. */
    for (int i = 0; i < n; i += 2) if (socketpair(AF_UNIX, SOCK_STREAM, 0, tx + i)) die("socketpair");
    struct io_uring ring;
    struct io_uring_params p = { .flags = BATCHED | IORING_SETUP_CQSIZE, .cq_entries = 32768 };
    int r = io_uring_queue_init_params(SQ_ENTRIES, &ring, &p);
    if (!r) r = io_uring_register_files_sparse(&ring, n);
    if (r) { errno = -r; die("ring"); }
    char name[80];
    snprintf(name, sizeof name, "registered file, in and out, of %d", n);
    print_row(name, register_and_remove(&ring, closes) * 1e6 / closes, "a stream, not an event");
    for (int i = 0; i < n; i++) watch_client(&ring, i);
    submit_and_take(&ring, 0, 0);
    for (unsigned k = 0; k < sizeof cancels / sizeof *cancels; k++) {
        snprintf(name, sizeof name, "%s, of %d", cancels[k].name, n);
        double cpu = cancel_watches(&ring, closes, cancels[k].prepare);
        print_row(name, cpu * 1e6 / closes, "a stream, not an event");
    }
}

static int usage(void) {
    fprintf(stderr, "usage: trials burst unix|tcp N PASSES BYTES\n"
                    "       trials trickle unix|tcp N EVENTS RATE BYTES\n"
                    "       trials close N CLOSES\n");
    return 2;
}

static int number(const char *text) {
    char *end;
    long value = strtol(text, &end, 10);
    if (*end || value < 1 || value > 10000000) exit(usage());
    return (int)value;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    srand(getpid());
    signal(SIGPIPE, SIG_IGN); /* WRITE_FIXED has no MSG_NOSIGNAL */
    if (!strcmp(mode, "close") && argc == 4) {
        n = number(argv[2]);
        close_main(number(argv[3]));
        return 0;
    }
    bool burst = !strcmp(mode, "burst") && argc == 6, trickle = !strcmp(mode, "trickle") && argc == 7;
    if (!burst && !trickle) return usage();
    bool tcp = !strcmp(argv[2], "tcp");
    if (!tcp && strcmp(argv[2], "unix")) return usage();
    n = number(argv[3]);
    bytes = number(argv[argc - 1]);
    if (bytes > SLOT / MOST_EVENTS_A_SEND) fail("BYTES, at most", SLOT / MOST_EVENTS_A_SEND);
    if (burst && number(argv[4]) > MOST_PASSES) fail("PASSES, at most", MOST_PASSES);
    connect_clients(tcp);
    warm_up();
    if (burst) burst_main(number(argv[4])); else trickle_main(number(argv[4]), number(argv[5]));
    close_clients();
    return 0;
}
