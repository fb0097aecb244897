using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

/// <summary>Measures the gaps of other streams while a peer's packets cost milliseconds of CPU each.</summary>
internal static class CostlyChaos
{
    private const int LongestGapMs = 300;
    private const int Looks = 10;

    /// <summary>Events of each reader between two looks: half a second.</summary>
    private const int EventsEach = 10;

    /// <returns>The exit code: 1 if a reader waited too long, or got half an answer.</returns>
    public static async Task<int> RunAsync(int sockets, double costMs, int networks, int readers)
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri, Timeout = TestClient.Patience };
        var made = Enumerable.Range(0, networks).Select(_ => new CostlyNetwork(
            sockets / networks, TimeSpan.FromMilliseconds(costMs))).ToArray();
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
            $"{sockets} sockets of {costMs} ms in {networks} namespaces ({made[0].Filters} filters); {readers} readers"));
        var isGood = true;
        await using (var steady = new SteadyReaders(daemon.SocketPath, readers))
        {
            await Eventually.TrueAsync(() => steady.Begun == readers);
            var quiet = await LookAsync("quiet");
            foreach (var network in made)
                network.Begin();
            foreach (var (_, server) in made.SelectMany(network => network.Pairs))
                TestClient.HandOverDescriptor(daemon.SocketPath, """{"prompt":"costly"}"""u8, (int)server.Handle);
            for (var i = 0; i < Looks; i++)
            {
                var gap = await LookAsync($"{i}");
                isGood &= gap.TotalMilliseconds <= Math.Max(LongestGapMs, 3 * quiet.TotalMilliseconds);
            }

            foreach (var complaint in steady.Complaints)
                Console.WriteLine(complaint);
            isGood &= steady.Complaints.Count == 0;

            async Task<TimeSpan> LookAsync(string name)
            {
                steady.Forget();
                var enough = steady.Events + (readers * EventsEach);
                await Eventually.TrueAsync(() => steady.Events >= enough);
                using var live = await http.GetAsync("/health/live");
                isGood &= live.IsSuccessStatusCode;
                var metrics = await http.GetStringAsync("/metrics");
                var threads = string.Join(' ', metrics.Split('\n').Where(line => !line.StartsWith('#')
                    && !line.EndsWith(" 0", StringComparison.Ordinal)
                    && (line.Contains("hung_threads", StringComparison.Ordinal)
                        || line.Contains("replaced_threads", StringComparison.Ordinal))));
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{name,8}{steady.WorstGap.TotalMilliseconds,8:0} ms{(int)live.StatusCode,6} {threads}"));
                return steady.WorstGap;
            }
        }

        foreach (var network in made)
            network.Dispose();
        return isGood ? 0 : 1;
    }
}
