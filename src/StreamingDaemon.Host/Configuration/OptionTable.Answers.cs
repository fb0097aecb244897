namespace StreamingDaemon.Host.Configuration;

/// <summary>Answers that outlive their reader.</summary>
internal sealed partial class OptionTable
{
    private static OptionSpec[] Answers =>
    [
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Answers.Keep, (o, v) => o with { Answers = o.Answers with { Keep = v } })
        {
            Key = "answers:keep",
            Reloadable = true,
            Description = "Keep every answer, so that a reader that left can read on; keep in a handoff "
                + "decides for one answer",
            Cost = "Each answer is held in memory for keep_s after its end. docs/answers.md has the rest.",
        },
        new OptionSpec<int>(
            new IntType(0, 86_400, zero: "to the answer's end"),
            o => o.Answers.OrphanS, (o, v) => o with { Answers = o.Answers with { OrphanS = v } })
        {
            Key = "answers:orphan_s",
            Reloadable = true,
            Description = "How long a kept answer goes on without a reader, seconds",
            Cost = "The model is paid for what nobody may ever read.",
        },
        new OptionSpec<int>(
            new IntType(1, 86_400),
            o => o.Answers.KeepS, (o, v) => o with { Answers = o.Answers with { KeepS = v } })
        {
            Key = "answers:keep_s",
            Reloadable = true,
            Description = "How long a kept answer can be read after its end, seconds",
            Cost = "Memory, up to max_bytes.",
        },
        new OptionSpec<long>(
            new ByteSizeType(1_024, 1L << 30),
            o => o.Answers.MaxAnswerBytes,
            (o, v) => o with { Answers = o.Answers with { MaxAnswerBytes = v } })
        {
            Key = "answers:max_answer_bytes",
            Reloadable = true,
            Description = "Longest answer that is kept; a longer one streams on, but cannot be resumed",
            Cost = "Bounds what one answer can take of max_bytes.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64 * 1024, 1L << 40),
            o => o.Answers.MaxBytes, (o, v) => o with { Answers = o.Answers with { MaxBytes = v } })
        {
            Key = "answers:max_bytes",
            Reloadable = true,
            Description = "All kept answers together; above it the oldest finished ones go, then new ones "
                + "are not kept",
            Cost = "It is part of what streams may hold (server.max_memory).",
        },
        new OptionSpec<AnswerStoreKind>(
            new ChoiceType<AnswerStoreKind>(
                ("memory", AnswerStoreKind.Memory), ("redis", AnswerStoreKind.Redis)),
            o => o.Answers.Store, (o, v) => o with { Answers = o.Answers with { Store = v } })
        {
            Key = "answers:store",
            Description = "Where kept answers are: in this daemon's memory, or in Redis too, for every "
                + "daemon that uses it",
            Cost = "About a command for each 10 ms of an answer. docs/answers.md has the rest.",
        },
        new OptionSpec<string>(
            new NameType("a host and a port such as 127.0.0.1:6379"),
            o => o.Answers.Redis, (o, v) => o with { Answers = o.Answers with { Redis = v } })
        {
            Key = "answers:redis",
            Description = "Address of Redis, host:port",
            Cost = "Whoever reaches it can read kept answers.",
        },
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Answers.RedisTls, (o, v) => o with { Answers = o.Answers with { RedisTls = v } })
        {
            Key = "answers:redis_tls",
            Description = "Speak TLS to Redis",
            Cost = "Its certificate must be trusted by the machine, or lead to those of redis_ca_file.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Answers.RedisCaFile, (o, v) => o with { Answers = o.Answers with { RedisCaFile = v } })
        {
            Key = "answers:redis_ca_file",
            Description = "Certificates (PEM) that the one of Redis must lead to, instead of the system's",
            Cost = "Needed only for a Redis with a certificate of the site's own authority.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Answers.RedisPasswordFile,
            (o, v) => o with { Answers = o.Answers with { RedisPasswordFile = v } })
        {
            Key = "answers:redis_password_file",
            Description = "File with the password of Redis; read again for each connection",
            Cost = "Readable for the daemon's user alone.",
        },
    ];
}
