using System.Collections.Concurrent;
using System.Net.Sockets;
using StreamingDaemon.Testing.Hostile;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>
/// A local peer that keeps what it hands over, and misuses it. None of its acts may change what others get. Each
/// act is one handoff, and has one outcome like any other.
/// </summary>
public sealed class ChaosPeer(string socketPath)
{
    /// <summary>How long an act lasts before the peer lets go, at most.</summary>
    private const int LongestMs = 1_500;

    private readonly ConcurrentDictionary<string, int> _acts = new();

    /// <summary>What was done, and how often.</summary>
    public IReadOnlyDictionary<string, int> Acts => _acts;

    /// <summary>Goes on until told to stop, and lets go of everything.</summary>
    /// <param name="seed">Of what is done when.</param>
    /// <param name="onHandoff">Called before each act.</param>
    /// <param name="goOn">Is asked between two acts.</param>
    public async Task PlayAsync(int seed, Action onHandoff, Func<bool> goOn)
    {
        var random = new Random(seed);
        while (goOn())
        {
            var act = HostilePeer.Acts[random.Next(HostilePeer.Acts.Count)];
            _acts.AddOrUpdate(act, 1, (_, count) => count + 1);
            onHandoff();
            using var peer = new HostilePeer(socketPath);
            try
            {
                await peer.CommitAsync(act);
            }
            catch (Exception e) when (e is SocketException or InvalidOperationException)
            {
                // Refused, or ended before there was anything to misuse.
            }

            await Task.Delay(random.Next(LongestMs));
        }
    }
}
