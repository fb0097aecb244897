using System.Collections.Concurrent;
using System.Net.Sockets;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>
/// A local peer that keeps the descriptors it hands over, and misuses them. No act may change the answers of
/// others. Each act is one handoff, and has one outcome like any other.
/// </summary>
public sealed class ChaosPeer(string socketPath)
{
    /// <summary>The longest time before the peer releases what it holds.</summary>
    private const int LongestMs = 1_500;

    private readonly ConcurrentDictionary<string, int> _acts = new();

    /// <summary>The number of each act.</summary>
    public IReadOnlyDictionary<string, int> Acts => _acts;

    /// <summary>Commits acts until told to stop, then releases everything.</summary>
    /// <param name="seed">Seed of the random choice of acts.</param>
    /// <param name="onHandoff">Called before each handoff.</param>
    /// <param name="goOn">Asked between two acts; false stops.</param>
    public async Task PlayAsync(int seed, Action onHandoff, Func<bool> goOn)
    {
        var random = new Random(seed);
        while (goOn())
        {
            var act = HostilePeer.Acts[random.Next(HostilePeer.Acts.Count)];
            _acts.AddOrUpdate(act, 1, (_, count) => count + 1);
            onHandoff();
            using var peer = new HostilePeer(socketPath) { OnFurtherHandoff = onHandoff };
            try
            {
                await peer.CommitAsync(act);
            }
            catch (Exception e) when (e is SocketException or InvalidOperationException)
            {
                // The handoff was refused, or ended before the act.
            }

            await Task.Delay(random.Next(LongestMs));
        }
    }
}
