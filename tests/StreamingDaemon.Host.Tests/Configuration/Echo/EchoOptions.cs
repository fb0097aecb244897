namespace StreamingDaemon.Host.Tests.Configuration.Echo;

/// <summary>Options of the backend "echo".</summary>
internal sealed record EchoOptions
{
    /// <summary>How often the prompt is repeated, 0 to 100. 0 is not set.</summary>
    public int Times { get; init; }

    /// <summary>Stands before each repetition.</summary>
    public string Prefix { get; init; } = "echo";
}
