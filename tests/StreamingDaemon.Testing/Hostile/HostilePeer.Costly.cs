using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

// Acts whose calls compute and do not wait: each packet costs its sender 20 ms of CPU.
public sealed partial class HostilePeer
{
    /// <summary>Sockets of one act, all in one network namespace. The kernel's timers also send packets of these
    /// connections. With many more, these would hold up their core, and the end of the process.</summary>
    private const int CostlySockets = 4;

    private static readonly TimeSpan s_costOfPacket = TimeSpan.FromMilliseconds(20);

    /// <summary>Those whose sockets' packets take time on a core. Few other things can be timed beside
    /// them.</summary>
    public static IReadOnlyList<string> CostlyActs { get; } =
        [nameof(PacketsThatCompute), nameof(PacketsThatComputeLater)];

    private readonly Queue<CostlyNetwork> _networks = new();

    /// <summary>Makes what some acts need and what takes long, so that the next acts do not.</summary>
    /// <param name="act">Its name.</param>
    /// <param name="times">How often it is to be committed.</param>
    public void Prepare(string act, int times)
    {
        if (!CostlyActs.Contains(act))
            return;
        for (var i = 0; i < times; i++)
            _networks.Enqueue(NewNetwork());
    }

    private CostlyNetwork NewNetwork()
    {
        var network = new CostlyNetwork(CostlySockets, s_costOfPacket);
        Hold(network);
        return network;
    }

    private CostlyNetwork TakeNetwork() => _networks.TryDequeue(out var prepared) ? prepared : NewNetwork();

    private Task PacketsThatCompute()
    {
        var network = TakeNetwork();
        network.Begin();
        HandOverAll(network.Pairs);
        return Task.CompletedTask;
    }

    /// <summary>The packets become costly only after the streams have begun.</summary>
    private async Task PacketsThatComputeLater()
    {
        var network = TakeNetwork();
        HandOverAll(network.Pairs);
        foreach (var (browser, _) in network.Pairs)
            await ReadSomeAsync(browser);
        network.Begin();
    }

    private void HandOverAll(IReadOnlyList<(Socket Browser, Socket Server)> pairs)
    {
        var isFirst = true;
        foreach (var (_, server) in pairs)
        {
            if (!isFirst)
                OnFurtherHandoff?.Invoke();
            isFirst = false;
            HandOver(s_prompt, (int)server.Handle);
            // Its packets cost the daemon only.
            server.Dispose();
        }
    }
}
