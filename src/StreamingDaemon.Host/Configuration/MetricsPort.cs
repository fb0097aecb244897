using System.Net;
using System.Net.Sockets;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Configuration;

/// <summary>The address that Kestrel listens on: <c>check</c> tries it, and an error names it.</summary>
internal static class MetricsPort
{
    public static IPEndPoint EndPointOf(MonitoringOptions options) =>
        new(IPAddress.Parse(options.MetricsAddress), options.MetricsPort);

    /// <summary>One sentence: what was refused and how to fix it.</summary>
    public static string Explain(MonitoringOptions options, Exception cause)
    {
        var error = cause as SocketException ?? cause.GetBaseException() as SocketException;
        var (reason, hint) = error?.SocketErrorCode switch
        {
            SocketError.AddressAlreadyInUse =>
                ("another process listens there", "choose another port with --metrics"),
            SocketError.AccessDenied =>
                ("permission denied", "choose a port above 1023 with --metrics"),
            SocketError.AddressNotAvailable =>
                ("this machine has no such address", "change monitoring.metrics_address"),
            _ => (cause.Message.TrimEnd('.'), "see --metrics and monitoring.metrics_address"),
        };
        return $"metrics on {EndPointOf(options)}: {reason}; {hint}";
    }

    public static CheckResult Check(MonitoringOptions options)
    {
        const string Name = "metrics";
        if (options.MetricsPort == 0)
            return new(Name, CheckStatus.Ok, "off");
        var endPoint = EndPointOf(options);
        try
        {
            using var socket = new Socket(endPoint.AddressFamily, SocketType.Stream, ProtocolType.Tcp);
            if (endPoint.Address.Equals(IPAddress.IPv6Any))
                socket.DualMode = true;
            socket.Bind(endPoint);
            socket.Listen(1);
            return new(Name, CheckStatus.Ok, $"{endPoint}: free");
        }
        catch (SocketException e)
        {
            return new(Name, CheckStatus.Failed, Explain(options, e));
        }
    }
}
