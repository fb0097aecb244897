using System.Globalization;
using StreamingDaemon.Testing;
using StreamingDaemon.Testing.Hostile;

/// <summary>The gaps of other streams while a peer holds the locks of sockets that it has handed over.</summary>
internal static class HeldChaos
{
    private const int LongestGapMs = 300;

    /// <returns>The exit code: 1 if a reader waited too long, or got half an answer.</returns>
    public static async Task<int> RunAsync(int most, int readers)
    {
        await using var daemon = await DaemonProcess.StartAsync();
        var isGood = true;
        await using (var held = new HeldSockets(daemon))
        {
            await held.BeginAsync(readers);
            var quiet = TimeSpan.Zero;
            Console.WriteLine($"{readers} readers, an event each 50 ms each");
            Console.WriteLine("  held sockets  longest gap  /health/live  tasks");
            foreach (var count in new[] { 0, most / 8, most * 3 / 8, most }.Distinct())
            {
                var row = await held.MeasureAsync(count);
                quiet = count == 0 ? row.LongestGap : quiet;
                isGood &= row.Live == 200
                    && row.LongestGap.TotalMilliseconds <= Math.Max(LongestGapMs, 3 * quiet.TotalMilliseconds);
                Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                    $"{row.Held,14}{row.LongestGap.TotalMilliseconds,10:0} ms{row.Live,14}{row.Tasks,7}"));
            }

            foreach (var complaint in held.Complaints)
                Console.WriteLine(complaint);
            isGood &= held.Complaints.Count == 0;
        }

        return isGood ? 0 : 1;
    }
}
