/* A FUSE file system with one file. Its server takes requests of the named kind, and never replies to them.
 * usage: silent-fuse DIRECTORY FILE-WITH-THE-CONTENT KIND (lookup getattr open reopen read flush release none)
 * reopen is each open but the first. The file is DIRECTORY/file. Prints "mounted", then "silent" for each request that it keeps. When standard input
 * ends, every request fails, and the mount is gone. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static const struct { const char *name; unsigned opcode; } kinds[] = {
    {"none", 0}, {"lookup", FUSE_LOOKUP}, {"getattr", FUSE_GETATTR}, {"open", FUSE_OPEN}, {"reopen", FUSE_OPEN},
    {"read", FUSE_READ}, {"flush", FUSE_FLUSH}, {"release", FUSE_RELEASE},
};

static int device;
static char content[65536];
static size_t size;

static void reply(const struct fuse_in_header *to, int error, const void *data, size_t length)
{
    struct fuse_out_header head = {sizeof head + (error ? 0 : length), error, to->unique};
    struct iovec parts[] = {{&head, sizeof head}, {(void *)data, error ? 0 : length}};
    if (writev(device, parts, 2) < 0 && errno != ENOENT)
        perror("reply");
}

static struct fuse_attr attributes(unsigned long long node)
{
    struct fuse_attr attr = {.ino = node, .nlink = 1, .mode = S_IFDIR | 0755};
    if (node != FUSE_ROOT_ID) {
        attr.mode = S_IFREG | 0644;
        attr.size = size;
    }
    return attr;
}

static void answer(const struct fuse_in_header *in, const char *body)
{
    switch (in->opcode) {
    case FUSE_INIT: {
        struct fuse_init_out out = {.major = 7, .minor = 31, .max_readahead = 65536, .max_write = 65536};
        reply(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_LOOKUP: {
        struct fuse_entry_out out = {.nodeid = 2, .attr = attributes(2)};
        reply(in, strcmp(body, "file") ? -ENOENT : 0, &out, sizeof out);
        break;
    }
    case FUSE_GETATTR: {
        struct fuse_attr_out out = {.attr = attributes(in->nodeid)};
        reply(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_OPEN: {
        struct fuse_open_out out = {.open_flags = FOPEN_DIRECT_IO};
        reply(in, 0, &out, sizeof out);
        break;
    }
    case FUSE_READ: {
        const struct fuse_read_in *read = (const void *)body;
        size_t from = read->offset < size ? read->offset : size;
        size_t left = size - from;
        reply(in, 0, content + from, left < read->size ? left : read->size);
        break;
    }
    case FUSE_FLUSH:
    case FUSE_RELEASE:
        reply(in, 0, NULL, 0);
        break;
    case FUSE_FORGET:
    case FUSE_BATCH_FORGET:
    case FUSE_INTERRUPT:
        break;
    default:
        reply(in, -ENOSYS, NULL, 0);
    }
}

int main(int argc, char **argv)
{
    char options[128];
    static char request[FUSE_MIN_READ_BUFFER + 65536];
    unsigned silent = 0, answered = argc == 4 && !strcmp(argv[3], "reopen");
    for (size_t i = 0; argc == 4 && i < sizeof kinds / sizeof *kinds; i++)
        if (!strcmp(argv[3], kinds[i].name))
            silent = kinds[i].opcode;
    int file = argc == 4 ? open(argv[2], O_RDONLY) : -1;
    ssize_t length = read(file, content, sizeof content);
    device = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    snprintf(options, sizeof options, "fd=%d,rootmode=40000,user_id=0,group_id=0,allow_other", device);
    if (length < 0 || device < 0 || mount("silent", argv[1], "fuse.silent", MS_NOSUID | MS_NODEV, options)) {
        perror("silent-fuse");
        return 1;
    }
    size = length;
    puts("mounted");
    fflush(stdout);
    struct pollfd both[] = {{0, POLLIN, 0}, {device, POLLIN, 0}};
    while (poll(both, 2, -1) > 0 && !(both[0].revents && getchar() == EOF)) {
        if (!both[1].revents)
            continue;
        ssize_t got = read(device, request, sizeof request);
        if (got < 0 && errno == ENODEV)
            break;
        if (got < (ssize_t)sizeof(struct fuse_in_header))
            continue;
        const struct fuse_in_header *in = (const void *)request;
        if (silent && in->opcode == silent && !answered) {
            puts("silent");
            fflush(stdout);
        } else {
            answered -= answered && in->opcode == silent;
            answer(in, request + sizeof *in);
        }
    }
    umount2(argv[1], MNT_DETACH);
    return 0;
}
