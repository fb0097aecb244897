using System.Net.Sockets;

namespace StreamingDaemon.Testing.Hostile;

// Acts whose calls compute and do not wait: each packet costs its sender 20 ms of CPU.
public sealed partial class HostilePeer
{
    /// <summary>Sockets of one act, all in one network namespace. The kernel's timers also send packets of these
    /// connections. With many more, these would hold up their core, and the end of the process.</summary>
    private const int CostlySockets = 4;

    private static readonly TimeSpan s_costOfPacket = TimeSpan.FromMilliseconds(20);

    private Task PacketsThatCompute()
    {
        var network = new CostlyNetwork(CostlySockets, s_costOfPacket);
        Hold(network);
        HandOverAll(network.Pairs, OnFurtherHandoff);
        return Task.CompletedTask;
    }

    /// <summary>The packets become costly only after the streams have begun.</summary>
    private Task PacketsThatComputeLater()
    {
        Hold(new CostlyNetwork(CostlySockets, s_costOfPacket, pairs =>
        {
            HandOverAll(pairs, OnFurtherHandoff);
            foreach (var (browser, _) in pairs)
            {
                browser.ReceiveTimeout = (int)TestClient.Patience.TotalMilliseconds;
                _ = browser.Receive(new byte[512]);
            }
        }));
        return Task.CompletedTask;
    }

    private void HandOverAll(IReadOnlyList<(Socket Browser, Socket Server)> pairs, Action? onFurther)
    {
        var isFirst = true;
        foreach (var (_, server) in pairs)
        {
            if (!isFirst)
                onFurther?.Invoke();
            isFirst = false;
            HandOver(s_prompt, (int)server.Handle);
            // Its packets cost the daemon only.
            server.Dispose();
        }
    }
}
