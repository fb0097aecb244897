using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Cli;

/// <summary>
/// What the commands do once the command line is parsed. Each returns the exit code. They handle signals too:
/// the command line installs no handler, so the token is only as cancellable as its caller made it.
/// </summary>
internal interface ICliActions
{
    /// <summary>The daemon itself; <paramref name="reread"/> reads its options again.</summary>
    Task<int> RunAsync(
        DaemonOptions options, Func<DaemonOptions> reread, CancellationToken cancellationToken);

    /// <summary>
    /// <c>check</c>: reports whether the daemon could run here; the configuration is already valid. With
    /// <paramref name="upstream"/> it also asks the upstream for a token, and with <paramref name="apache"/>
    /// the site's doctor.php at that address.
    /// </summary>
    Task<int> CheckAsync(DaemonOptions options, bool json, bool upstream, string? apache,
        CancellationToken cancellationToken);

    /// <summary>
    /// <c>health</c>: reports whether the daemon that runs with this configuration is ready.
    /// </summary>
    Task<int> HealthAsync(DaemonOptions options, bool json, CancellationToken cancellationToken);

    /// <summary>
    /// <c>demo</c>: a page to try the daemon from; <paramref name="port"/> 0 is any free one.
    /// </summary>
    Task<int> DemoAsync(DaemonOptions options, int port, bool once, CancellationToken cancellationToken);

    /// <summary>
    /// <c>deliveries</c>: lists what waits to be delivered, sends it at once, or drops it; all if
    /// <paramref name="id"/> is null.
    /// </summary>
    Task<int> DeliveriesAsync(DaemonOptions options, DeliveriesAct act, string? id, bool json,
        CancellationToken cancellationToken);

    /// <summary>
    /// <c>send</c>: hands over one end of a connection and prints the answer. At least one of
    /// <paramref name="prompt"/> and <paramref name="data"/> is given; the latter is a JSON object. The whole
    /// call may take <paramref name="timeoutS"/> seconds; 0 is no limit.
    /// </summary>
    Task<int> SendAsync(string socket, string? prompt, string? data, int timeoutS,
        CancellationToken cancellationToken);
}

/// <summary>What <c>deliveries</c> does.</summary>
internal enum DeliveriesAct
{
    List,
    Retry,
    Drop,
}

/// <summary>The command line's input and output. A process has one; a test makes its own.</summary>
internal sealed record CliSurroundings
{
    public required TextWriter Output { get; init; }
    public required TextWriter Error { get; init; }
    public required ConfigurationSources Sources { get; init; }

    public static CliSurroundings OfProcess() => new()
    {
        Output = Console.Out,
        Error = Console.Error,
        Sources = ConfigurationSources.OfProcess(),
    };
}
