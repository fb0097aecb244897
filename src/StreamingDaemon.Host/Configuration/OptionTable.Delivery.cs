namespace StreamingDaemon.Host.Configuration;

/// <summary>Where finished answers are delivered.</summary>
internal sealed partial class OptionTable
{
    private static OptionSpec[] Delivery =>
    [
        new OptionSpec<Uri?>(
            new OptionalUrlType(),
            o => o.Delivery.Url, (o, v) => o with { Delivery = o.Delivery with { Url = v } })
        {
            Key = "delivery:url",
            IsAddress = true,
            Description = "URL to which each finished answer is sent by POST; empty sends none",
            Cost = "An answer is on disk before its reader gets [DONE]. This takes one fsync, shared by "
                + "answers that end together.",
        },
        new OptionSpec<string>(
            new SecretType(),
            o => o.Delivery.Secret, (o, v) => o with { Delivery = o.Delivery with { Secret = v } })
        {
            Key = "delivery:secret",
            Reloadable = true,
            IsSecret = true,
            Description = "Secret that signs deliveries (Standard Webhooks): whsec_ and base64, or any text",
            Cost = "Anyone who knows it can forge a delivery. Better in a file (secret_file).",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Delivery.SecretFile, (o, v) => o with { Delivery = o.Delivery with { SecretFile = v } })
        {
            Key = "delivery:secret_file",
            Description = "File that holds the secret, instead of secret; read again on SIGHUP",
            Cost = "The daemon's user and the receiver must be able to read it, and nobody else.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Delivery.CaFile, (o, v) => o with { Delivery = o.Delivery with { CaFile = v } })
        {
            Key = "delivery:ca_file",
            Description = "CA certificates (PEM) to trust for an https receiver, instead of the system's",
            Cost = "Only for a receiver whose certificate is from a private CA.",
        },
        new OptionSpec<DeliveryWhich>(
            new ChoiceType<DeliveryWhich>(("kept", DeliveryWhich.Kept), ("all", DeliveryWhich.All)),
            o => o.Delivery.Which, (o, v) => o with { Delivery = o.Delivery with { Which = v } })
        {
            Key = "delivery:which",
            Description = "Answers that are delivered: the kept ones, or all",
            Cost = "Each such answer is held in memory until its end. Its upstream is asked for token "
                + "counts.",
        },
        new OptionSpec<string>(
            new DirectoryPathType(),
            o => o.Delivery.SpoolDir, (o, v) => o with { Delivery = o.Delivery with { SpoolDir = v } })
        {
            Key = "delivery:spool_dir",
            Description = "Directory of deliveries that have not arrived yet",
            Cost = "Holds answers as plain text (mode 0700, files 0600). It must survive a restart.",
        },
        new OptionSpec<int>(
            new IntType(1, 8_760),
            o => o.Delivery.MaxAgeH, (o, v) => o with { Delivery = o.Delivery with { MaxAgeH = v } })
        {
            Key = "delivery:max_age_h",
            Reloadable = true,
            Description = "How long a delivery is retried, in hours; then it becomes a dead letter",
            Cost = "A receiver may be down for a weekend. The disk must hold the answers of that time.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64 << 10, 1L << 40),
            o => o.Delivery.MaxDeadBytes,
            (o, v) => o with { Delivery = o.Delivery with { MaxDeadBytes = v } })
        {
            Key = "delivery:max_dead_bytes",
            Reloadable = true,
            Description = "Most bytes of dead letters; above it the oldest are removed",
            Cost = "Disk space. A receiver that refuses everything makes each answer a dead letter.",
        },
        new OptionSpec<int>(
            new IntType(0, 87_600, zero: "for ever"),
            o => o.Delivery.MaxDeadAgeH,
            (o, v) => o with { Delivery = o.Delivery with { MaxDeadAgeH = v } })
        {
            Key = "delivery:max_dead_age_h",
            Reloadable = true,
            Description = "How long a dead letter is kept, in hours",
            Cost = "Until then an operator can retry it, and its answer is on disk as plain text.",
        },
        new OptionSpec<int>(
            new IntType(1, 256),
            o => o.Delivery.Concurrency, (o, v) => o with { Delivery = o.Delivery with { Concurrency = v } })
        {
            Key = "delivery:concurrency",
            Reloadable = true,
            Description = "Most deliveries at once, each of another user",
            Cost = "Each takes one connection and one worker of the receiver.",
        },
        new OptionSpec<int>(
            new IntType(100, 300_000),
            o => o.Delivery.TimeoutMs, (o, v) => o with { Delivery = o.Delivery with { TimeoutMs = v } })
        {
            Key = "delivery:timeout_ms",
            Reloadable = true,
            Description = "Longest time for one delivery, in ms",
            Cost = "A delivery that timed out may have arrived. It is sent again with the same id.",
        },
        new OptionSpec<long>(
            new ByteSizeType(1 << 10, 1L << 30, zero: "no limit"),
            o => o.Delivery.MaxBytes, (o, v) => o with { Delivery = o.Delivery with { MaxBytes = v } })
        {
            Key = "delivery:max_bytes",
            Description = "Most bytes of one answer that are delivered; the rest is left out, and the "
                + "delivery says so",
            Cost = "Held in memory for each running stream that is delivered. Counts in the memory budget "
                + "(server.max_memory).",
        },
    ];
}
