using System.Globalization;

namespace StreamingDaemon.Bench.Daemon;

/// <summary>
/// A daemon's figures on its own runtime, from its metrics page in the Prometheus text format; null if it
/// gives none. The names are prometheus-net's, the runtime meter's through it, and Go's.
/// </summary>
/// <param name="Collections">Collections of the garbage collector, by generation (or all, in Go).</param>
/// <param name="AllocatedBytes">Allocated on the heap since the start.</param>
internal sealed record RuntimeCounters(
    IReadOnlyDictionary<string, double> Collections, double? AllocatedBytes)
{
    private static readonly string[] s_collections =
        ["dotnet_collection_count_total", "system_runtime_dotnet_gc_collections",
            "go_gc_duration_seconds_count"];

    private static readonly string[] s_allocated =
        ["dotnet_gc_allocated_bytes_total", "dotnet_gc_heap_total_allocated_bytes_total",
            "system_runtime_dotnet_gc_heap_total_allocated", "go_memstats_alloc_bytes_total"];

    /// <summary>Reads a page.</summary>
    public static RuntimeCounters Parse(string page)
    {
        var collections = new SortedDictionary<string, double>(StringComparer.Ordinal);
        double? allocated = null;
        foreach (var line in page.Split('\n'))
        {
            if (line.StartsWith('#') || line.LastIndexOf(' ') is not (> 0 and var space)
                || !double.TryParse(line.AsSpan(space + 1), CultureInfo.InvariantCulture, out var value))
            {
                continue;
            }

            var series = line[..space];
            var name = series.IndexOf('{') is >= 0 and var brace ? series[..brace] : series;
            if (Array.IndexOf(s_collections, name) >= 0)
                collections[Generation(series)] = value;
            else if (Array.IndexOf(s_allocated, name) >= 0)
                allocated = value;
        }

        return new RuntimeCounters(collections, allocated);
    }

    /// <summary>The increase since <paramref name="before"/>.</summary>
    public RuntimeCounters Since(RuntimeCounters before) => new(
        Collections.ToDictionary(c => c.Key, c => c.Value - before.Collections.GetValueOrDefault(c.Key)),
        AllocatedBytes - (before.AllocatedBytes ?? 0));

    /// <summary>Asks a daemon; null if no page comes back.</summary>
    public static RuntimeCounters? Scrape(int port)
    {
        try
        {
            using var client = new HttpClient { Timeout = TimeSpan.FromSeconds(5) };
            return Parse(client.GetStringAsync(new Uri($"http://127.0.0.1:{port}/metrics"))
                .GetAwaiter().GetResult());
        }
        catch (Exception exception) when (exception is HttpRequestException or TaskCanceledException)
        {
            return null;
        }
    }

    /// <summary>The last digit in the labels (<c>generation="2"</c>, <c>gen2</c>), or "all".</summary>
    private static string Generation(string series)
    {
        var digit = series.IndexOf('{') is >= 0 and var brace
            ? series.AsSpan(brace).IndexOfAnyInRange('0', '9') + brace : -1;
        return digit > series.IndexOf('{') ? $"{series[digit]}" : "all";
    }
}
