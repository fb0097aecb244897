using System.Runtime.Versioning;
using StreamingDaemon.ApacheTests;
using Xunit.Sdk;
using Xunit.v3;

[assembly: SupportedOSPlatform("linux")]
[assembly: AssemblyFixture(typeof(SharedServers))]
[assembly: Parallelization(Mode = ParallelMode.None)]

namespace StreamingDaemon.ApacheTests;

/// <summary>One httpd of each kind for the whole run, each with a daemon behind it.</summary>
public sealed class SharedServers : IDisposable
{
    /// <summary>18 events take a third of a second.</summary>
    public const int DelayMs = 20;

    private readonly Dictionary<Stack, (ApacheServer Apache, DaemonUnderTest Daemon)> _running = [];

    public static TheoryData<Stack> Both => [Stack.PreforkWithModPhp, Stack.EventWithPhpFpm];

    public void Dispose()
    {
        foreach (var (apache, daemon) in _running.Values)
        {
            daemon.Dispose();
            apache.Dispose();
        }
    }

    internal ApacheServer this[Stack stack]
    {
        get
        {
            if (!_running.TryGetValue(stack, out var servers))
            {
                var apache = new ApacheServer(stack);
                servers = (apache, new DaemonUnderTest(apache.DefaultSocket, DelayMs));
                _running[stack] = servers;
            }
            return servers.Apache;
        }
    }
}
