/* Holds every open(2) of a file, as a dead NFS or FUSE server does, until standard input ends.
 * usage: hold-open FILE. Prints "held" once it does. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <sys/fanotify.h>

int main(int argc, char **argv)
{
    int fd = fanotify_init(FAN_CLASS_CONTENT | FAN_CLOEXEC, O_RDONLY);
    if (argc < 2 || fd < 0 || fanotify_mark(fd, FAN_MARK_ADD, FAN_OPEN_PERM, AT_FDCWD, argv[1])) {
        perror("hold-open");
        return 1;
    }
    puts("held");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return 0;
}
