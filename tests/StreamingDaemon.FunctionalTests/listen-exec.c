/* Plays the socket activation of a service manager: listens, and runs a command with the socket as
 * descriptor 3, again for each line of standard input. Prints "started PID" and "ended STATUS".
 * usage: listen-exec seqpacket|stream PATH COMMAND [ARGUMENT...] */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (argc < 4 || strlen(argv[2]) >= sizeof address.sun_path)
        return 2;
    strcpy(address.sun_path, argv[2]);
    int type = strcmp(argv[1], "stream") ? SOCK_SEQPACKET : SOCK_STREAM;
    int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) || listen(fd, 128)) {
        perror("listen-exec");
        return 1;
    }
    do {
        pid_t pid = fork();
        if (pid == 0) {
            char number[16];
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            snprintf(number, sizeof number, "%d", (int)getpid());
            setenv("LISTEN_PID", number, 1);
            setenv("LISTEN_FDS", "1", 1);
            setenv("LISTEN_FDNAMES", "handoff", 1);
            /* A dup2 onto itself would keep close-on-exec. */
            int copy = dup(fd);
            close(3);
            dup2(copy, 3);
            close(copy);
            execvp(argv[3], argv + 3);
            perror(argv[3]);
            _exit(127);
        }
        int status;
        printf("started %d\n", (int)pid);
        fflush(stdout);
        if (pid < 0 || waitpid(pid, &status, 0) != pid)
            return 1;
        printf("ended %d\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status));
        fflush(stdout);
    } while (getchar() != EOF);
    return 0;
}
