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
            Description = "Where each finished answer is sent to, by POST; empty is nowhere",
            Cost = "An answer is on the disk before its reader gets [DONE]: one fsync, shared by those that "
                + "end together.",
        },
        new OptionSpec<string>(
            new SecretType(),
            o => o.Delivery.Secret, (o, v) => o with { Delivery = o.Delivery with { Secret = v } })
        {
            Key = "delivery:secret",
            Reloadable = true,
            IsSecret = true,
            Description = "Secret that signs deliveries (Standard Webhooks): whsec_ and base64, or any text",
            Cost = "The receiver takes a delivery from anybody who knows it: prefer secret_file.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Delivery.SecretFile, (o, v) => o with { Delivery = o.Delivery with { SecretFile = v } })
        {
            Key = "delivery:secret_file",
            Description = "File with the secret, in place of secret; SIGHUP reads it again",
            Cost = "It must be readable for the daemon's user, and for nobody else but the receiver.",
        },
        new OptionSpec<string?>(
            new FilePathType(),
            o => o.Delivery.CaFile, (o, v) => o with { Delivery = o.Delivery with { CaFile = v } })
        {
            Key = "delivery:ca_file",
            Description = "Certificates (PEM) that an https receiver's must lead to, instead of the system's",
            Cost = "Needed only for a receiver with a certificate of the site's own authority.",
        },
        new OptionSpec<DeliveryWhich>(
            new ChoiceType<DeliveryWhich>(("kept", DeliveryWhich.Kept), ("all", DeliveryWhich.All)),
            o => o.Delivery.Which, (o, v) => o with { Delivery = o.Delivery with { Which = v } })
        {
            Key = "delivery:which",
            Description = "Which answers are delivered: those that are kept, or all",
            Cost = "Each delivered answer is in memory until its end, and asks the upstream for its token "
                + "counts too.",
        },
        new OptionSpec<string>(
            new DirectoryPathType(),
            o => o.Delivery.SpoolDir, (o, v) => o with { Delivery = o.Delivery with { SpoolDir = v } })
        {
            Key = "delivery:spool_dir",
            Description = "Directory in which deliveries wait until they have arrived",
            Cost = "Answers are in it as plain text: mode 0700, files 0600. It must outlive a restart.",
        },
        new OptionSpec<int>(
            new IntType(1, 8_760),
            o => o.Delivery.MaxAgeH, (o, v) => o with { Delivery = o.Delivery with { MaxAgeH = v } })
        {
            Key = "delivery:max_age_h",
            Reloadable = true,
            Description = "How long a delivery is tried, hours; after that it is a dead letter",
            Cost = "A receiver may be away for a weekend; the disk must hold the answers of that time.",
        },
        new OptionSpec<long>(
            new ByteSizeType(64 << 10, 1L << 40),
            o => o.Delivery.MaxDeadBytes,
            (o, v) => o with { Delivery = o.Delivery with { MaxDeadBytes = v } })
        {
            Key = "delivery:max_dead_bytes",
            Reloadable = true,
            Description = "Most bytes of dead letters; above it the oldest are dropped",
            Cost = "Disk. A receiver that refuses all makes every answer one until it is fixed.",
        },
        new OptionSpec<int>(
            new IntType(0, 87_600, zero: "for ever"),
            o => o.Delivery.MaxDeadAgeH,
            (o, v) => o with { Delivery = o.Delivery with { MaxDeadAgeH = v } })
        {
            Key = "delivery:max_dead_age_h",
            Reloadable = true,
            Description = "How long a dead letter is kept, hours",
            Cost = "Until then an operator can retry it, and its answer is on the disk as plain text.",
        },
        new OptionSpec<int>(
            new IntType(1, 256),
            o => o.Delivery.Concurrency, (o, v) => o with { Delivery = o.Delivery with { Concurrency = v } })
        {
            Key = "delivery:concurrency",
            Reloadable = true,
            Description = "Deliveries that are sent at once, each of another user",
            Cost = "Each takes a connection and a worker of the receiver.",
        },
        new OptionSpec<int>(
            new IntType(100, 300_000),
            o => o.Delivery.TimeoutMs, (o, v) => o with { Delivery = o.Delivery with { TimeoutMs = v } })
        {
            Key = "delivery:timeout_ms",
            Reloadable = true,
            Description = "Longest that one delivery may take, ms",
            Cost = "A delivery that was cut off may have arrived: it is sent again with the same id.",
        },
        new OptionSpec<long>(
            new ByteSizeType(1 << 10, 1L << 30, zero: "no limit"),
            o => o.Delivery.MaxBytes, (o, v) => o with { Delivery = o.Delivery with { MaxBytes = v } })
        {
            Key = "delivery:max_bytes",
            Description = "Most bytes of one answer that are delivered; what follows is left out, and the "
                + "delivery says so",
            Cost = "Held in memory for each running stream that is delivered; counted in max_memory.",
        },
    ];
}
