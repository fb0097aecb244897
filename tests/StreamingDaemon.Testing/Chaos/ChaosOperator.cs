using System.Collections.Concurrent;

namespace StreamingDaemon.Testing.Chaos;

/// <summary>
/// An operator who replaces the configuration file by odd files and reloads, sometimes several times at once.
/// The good file always comes back with the same settings, so no reload may change an outcome.
/// </summary>
/// <param name="daemon">The daemon to reload.</param>
/// <param name="file">Its configuration file, which is good now.</param>
public sealed class ChaosOperator(DaemonProcess daemon, string file)
{
    private const int SigHup = 1;
    private const string Refused = "not reloaded, settings unchanged";

    private static readonly OddFileKind[] s_kinds = Enum.GetValues<OddFileKind>();

    private readonly string _good = File.ReadAllText(file);
    private readonly ConcurrentDictionary<string, int> _acts = new();

    /// <summary>The number of each act.</summary>
    public IReadOnlyDictionary<string, int> Acts => _acts;

    /// <summary>Number of reloads that the daemon refused.</summary>
    public int Refusals => daemon.LogLines(Refused).Count;

    /// <summary>True if this operator caused the log line.</summary>
    public static bool IsOfMaking(string line) => line.Contains(Refused, StringComparison.Ordinal);

    /// <summary>Reloads until told to stop, and leaves the good file in force.</summary>
    public async Task PlayAsync(int seed, Func<bool> goOn)
    {
        var random = new Random(seed);
        while (goOn())
        {
            if (random.Next(3) == 0)
                PlaceGood();
            else
                PlaceOdd(s_kinds[random.Next(s_kinds.Length)]);
            for (var i = random.Next(1, 4); i > 0; i--)
                daemon.Signal(SigHup);
            await Task.Delay(random.Next(10, 200));
        }

        await EndAsync();
    }

    /// <summary>Waits until a reload has read the good file.</summary>
    private async Task EndAsync()
    {
        var before = daemon.LogLines("\"Changed\":").Count;
        PlaceGood();
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Changed\":").Count > before);
    }

    private void PlaceGood()
    {
        _acts.AddOrUpdate("Good", 1, (_, count) => count + 1);
        if (Directory.Exists(file))
            Directory.Delete(file);
        File.WriteAllText(file + ".new", _good);
        File.Move(file + ".new", file, overwrite: true);
    }

    private void PlaceOdd(OddFileKind kind)
    {
        _acts.AddOrUpdate(kind.ToString(), 1, (_, count) => count + 1);
        OddFile.Place(file, kind);
    }
}
