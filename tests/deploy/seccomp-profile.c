/* Runs a command under a seccomp profile, as a container engine would.
 * usage: seccomp-profile RULES COMMAND [ARGUMENT...]
 * RULES is a file of lines, written by SeccompProfile.cs: first the errno of what no rule allows, then
 * NAME COUNT { INDEX MASK VALUE }... for each rule that allows a call whose arguments are as said. */
#include <errno.h>
#include <inttypes.h>
#include <seccomp.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static int fail(const char *what, const char *name, int error)
{
    fprintf(stderr, "seccomp-profile: %s %s: %s\n", what, name, strerror(error));
    return 3;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        return 2;
    FILE *rules = fopen(argv[1], "r");
    unsigned refusal, count;
    char name[64];
    if (!rules || fscanf(rules, "%u", &refusal) != 1)
        return fail("read", argv[1], errno);
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ERRNO(refusal));
    if (!filter)
        return fail("init", "", ENOMEM);
    while (fscanf(rules, "%63s %u", name, &count) == 2) {
        struct scmp_arg_cmp arguments[6];
        for (unsigned i = 0; i < count && i < 6; i++) {
            unsigned index;
            uint64_t mask, value;
            if (fscanf(rules, "%u %" SCNu64 " %" SCNu64, &index, &mask, &value) != 3)
                return fail("argument of", name, EINVAL);
            arguments[i] = (struct scmp_arg_cmp){ index, SCMP_CMP_MASKED_EQ, mask, value };
        }
        int call = seccomp_syscall_resolve_name(name);
        if (call == __NR_SCMP_ERROR)
            return fail("there is no call", name, EINVAL);
        int error = seccomp_rule_add_array(filter, SCMP_ACT_ALLOW, call, count, arguments);
        if (error)
            return fail("rule for", name, -error);
    }
    fclose(rules);
    int error = seccomp_load(filter);
    if (error)
        return fail("load", argv[1], -error);
    execvp(argv[2], argv + 2);
    return fail("execute", argv[2], errno);
}
