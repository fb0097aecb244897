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
            Description = "Keep each answer, so that a reader that left can resume it; the handoff's keep "
                + "overrides this",
            Cost = "Each answer stays in memory for keep_s after its end. See docs/answers.md.",
        },
        new OptionSpec<int>(
            new IntType(0, 86_400, zero: "to the answer's end"),
            o => o.Answers.OrphanS, (o, v) => o with { Answers = o.Answers with { OrphanS = v } })
        {
            Key = "answers:orphan_s",
            Reloadable = true,
            Description = "How long a kept answer goes on without a reader, in seconds",
            Cost = "The model is paid for text that perhaps nobody will read.",
        },
        new OptionSpec<int>(
            new IntType(1, 86_400),
            o => o.Answers.KeepS, (o, v) => o with { Answers = o.Answers with { KeepS = v } })
        {
            Key = "answers:keep_s",
            Reloadable = true,
            Description = "How long a kept answer can be resumed after its end, in seconds",
            Cost = "Longer takes more memory, up to max_bytes.",
        },
        new OptionSpec<long>(
            new ByteSizeType(1_024, 1L << 30),
            o => o.Answers.MaxAnswerBytes,
            (o, v) => o with { Answers = o.Answers with { MaxAnswerBytes = v } })
        {
            Key = "answers:max_answer_bytes",
            Reloadable = true,
            Description = "Largest answer that is kept, in bytes; a larger one streams on but cannot be "
                + "resumed",
            Cost = "Limits one answer's share of max_bytes.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64 * 1024, 1L << 40),
            o => o.Answers.MaxBytes, (o, v) => o with { Answers = o.Answers with { MaxBytes = v } })
        {
            Key = "answers:max_bytes",
            Reloadable = true,
            Description = "Most bytes of all kept answers; above it the oldest finished ones are removed, "
                + "and then new ones are not kept",
            Cost = "Counts in the memory budget (server.max_memory).",
        },
        new OptionSpec<AnswerStoreKind>(
            new ChoiceType<AnswerStoreKind>(
                ("memory", AnswerStoreKind.Memory), ("redis", AnswerStoreKind.Redis)),
            o => o.Answers.Store, (o, v) => o with { Answers = o.Answers with { Store = v } })
        {
            Key = "answers:store",
            Description = "Where answers are kept: in this daemon's memory, or also in Redis for all daemons "
                + "that share it",
            Cost = "redis costs about one command for each 10 ms of an answer. See docs/answers.md.",
        },
        new OptionSpec<string>(
            new NameType("a host and a port such as 127.0.0.1:6379"),
            o => o.Answers.Redis, (o, v) => o with { Answers = o.Answers with { Redis = v } })
        {
            Key = "answers:redis",
            Description = "Address of Redis, as host:port",
            Cost = "Anyone with access to this Redis can read the kept answers.",
        },
        new OptionSpec<bool>(
            new BoolType(),
            o => o.Answers.RedisTls, (o, v) => o with { Answers = o.Answers with { RedisTls = v } })
        {
            Key = "answers:redis_tls",
            Description = "Use TLS to Redis",
            Cost = "Redis's certificate must be trusted by the system, or by redis_ca_file.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Answers.RedisCaFile, (o, v) => o with { Answers = o.Answers with { RedisCaFile = v } })
        {
            Key = "answers:redis_ca_file",
            Description = "CA certificates (PEM) to trust for Redis, instead of the system's",
            Cost = "Only for a Redis whose certificate is from a private CA.",
        },
        new OptionSpec<string>(
            new NameType("the name of a user of Redis"),
            o => o.Answers.RedisUser, (o, v) => o with { Answers = o.Answers with { RedisUser = v } })
        {
            Key = "answers:redis_user",
            Description = "User of Redis (ACL) whose password is in redis_password_file",
            Cost = "Needs Redis 6, unless it is the default.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Answers.RedisPasswordFile,
            (o, v) => o with { Answers = o.Answers with { RedisPasswordFile = v } })
        {
            Key = "answers:redis_password_file",
            Description = "File with the password of Redis; read again for each connection",
            Cost = "Only the daemon's user should be able to read it.",
        },
    ];
}
