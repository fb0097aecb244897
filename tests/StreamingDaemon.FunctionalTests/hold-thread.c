/* Stops one thread of a process, as nothing else can from outside, until standard input ends.
 * usage: hold-thread TID. Prints "held" once it has. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/wait.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    pid_t tid = argc > 1 ? atoi(argv[1]) : 0;
    int status;
    if (ptrace(PTRACE_SEIZE, tid, 0, 0) || ptrace(PTRACE_INTERRUPT, tid, 0, 0) ||
        waitpid(tid, &status, __WALL) != tid) {
        perror("hold-thread");
        return 1;
    }
    puts("held");
    fflush(stdout);
    while (getchar() != EOF)
        ;
    return ptrace(PTRACE_DETACH, tid, 0, 0) ? 1 : 0;
}
