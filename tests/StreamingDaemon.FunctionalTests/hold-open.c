/* Holds every open(2) of a file, as a dead NFS or FUSE server does, until standard input ends.
 * usage: hold-open FILE, or a directory. Prints "held" once it does, and "open" for each open(2). */
#define _GNU_SOURCE
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/fanotify.h>
#include <sys/stat.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct stat what;
    int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);
    if (argc < 2 || stat(argv[1], &what) || fd < 0
        || fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM | (S_ISDIR(what.st_mode) ? FAN_ONDIR : 0), AT_FDCWD,
                         argv[1])) {
        perror("hold-open");
        return 1;
    }
    puts("held");
    fflush(stdout);
    struct pollfd both[] = {{0, POLLIN, 0}, {fd, POLLIN, 0}};
    while (poll(both, 2, -1) > 0 && !(both[0].revents && getchar() == EOF)) {
        struct fanotify_event_metadata event;
        /* Nobody answers: the kernel does when this process ends. */
        if (both[1].revents && read(fd, &event, sizeof event) == sizeof event) {
            close(event.fd);
            puts("open");
            fflush(stdout);
        }
    }
    return 0;
}
