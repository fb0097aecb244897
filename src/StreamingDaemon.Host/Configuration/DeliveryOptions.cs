namespace StreamingDaemon.Host.Configuration;

/// <summary><c>[delivery]</c></summary>
internal sealed record DeliveryOptions
{
    /// <summary>Where finished answers are sent; null is nowhere.</summary>
    public Uri? Url { get; init; }

    /// <summary>Signs each delivery: <c>whsec_</c> and base64, or the bytes themselves.</summary>
    public string Secret { get; init; } = "";

    public string? SecretFile { get; init; }

    /// <summary>Certificates that the receiver's must lead to; null is those of the system.</summary>
    public string? CaFile { get; init; }

    public DeliveryWhich Which { get; init; } = DeliveryWhich.Kept;

    public string SpoolDir { get; init; } = "/var/lib/streaming-daemon/deliveries";

    /// <summary>1 to 8760.</summary>
    public int MaxAgeH { get; init; } = 72;

    /// <summary>Most bytes of deliveries that are not sent again.</summary>
    public long MaxDeadBytes { get; init; } = 256 * 1024 * 1024;

    /// <summary>How long a delivery that is not sent again is kept, hours; 0 is for ever.</summary>
    public int MaxDeadAgeH { get; init; } = 720;

    /// <summary>Deliveries that are sent at once, 1 to 256.</summary>
    public int Concurrency { get; init; } = 8;

    public int TimeoutMs { get; init; } = 10_000;

    /// <summary>Most bytes of one answer; 0 is no limit.</summary>
    public long MaxBytes { get; init; } = 16 * 1024 * 1024;

    /// <summary>Hides the values: one of them is the secret.</summary>
    public override string ToString() => nameof(DeliveryOptions);
}

/// <summary>Which answers are delivered: <c>"kept"</c> or <c>"all"</c>.</summary>
internal enum DeliveryWhich
{
    Kept,
    All,
}
