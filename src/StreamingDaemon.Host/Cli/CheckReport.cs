using System.Text;
using System.Text.Json;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Cli;

/// <summary>Prints the results of <c>check</c>: a table for people, or JSON.</summary>
internal static class CheckReport
{
    private const int MaxName = 60;

    /// <summary>Longer than any sentence of the daemon, even with two paths in it.</summary>
    private const int MaxDetail = 10_000;

    /// <summary>Findings for an unusable configuration: nothing else can be tested.</summary>
    public static IReadOnlyList<CheckResult> Of(ConfigurationException refused) =>
        [.. refused.Errors.Select(error => new CheckResult("configuration", CheckStatus.Failed, error))];

    /// <summary>Findings of the backends that can be made.</summary>
    public static IEnumerable<CheckResult> OfBackends(BackendSettings backends) => backends.Configured
        .SelectMany(backend => backend.Kind.Checks(backend.Options)).Select(Look);

    /// <summary>Asks the upstream of each backend that can be made for one token.</summary>
    public static async Task<IReadOnlyList<CheckResult>> OfUpstreamsAsync(
        DaemonOptions options, CancellationToken cancellationToken)
    {
        var timeouts = options.Timeouts;
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(timeouts.ConnectTimeoutMs + timeouts.FirstTokenTimeoutMs);
        var results = new List<CheckResult>();
        foreach (var (kind, settings) in options.Backends.Configured)
            results.AddRange(await OfUpstreamAsync(kind, settings, limit.Token));

        if (results.Count == 0)
        {
            results.Add(new CheckResult("upstream", CheckStatus.Failed,
                "no backend that can be made asks a server. Configure one: backend.name = \"openai\""));
        }

        return results;
    }

    /// <summary>A backend's defect is a finding too: the rest of the report is still worth reading.</summary>
    private static async Task<IEnumerable<CheckResult>> OfUpstreamAsync(
        BackendDescriptor kind, object settings, CancellationToken cancellationToken)
    {
        try
        {
            return (await kind.ProbeAsync(settings, cancellationToken)).Select(finding => new CheckResult(
                finding.Name, finding.IsGood ? CheckStatus.Ok : CheckStatus.Failed, finding.Detail));
        }
        catch (Exception e) when (LastWords.Explain(e) is null)
        {
            // The exception's message may quote the upstream, or the key.
            return [new CheckResult("upstream", CheckStatus.Failed,
                $"backend {kind.Name} fails in this test; please report this fault ({e.GetType().Name})")];
        }
    }

    /// <param name="output">Gets the report.</param>
    /// <param name="results">What a start needs.</param>
    /// <param name="json">True for JSON, false for a table.</param>
    /// <param name="upstream">What asking the upstream was like; empty if it was not asked.</param>
    /// <param name="site">What asking the site was like; empty if it was not asked.</param>
    public static void Write(TextWriter output, IReadOnlyList<CheckResult> results, bool json,
        IReadOnlyList<CheckResult>? upstream = null, IReadOnlyList<CheckResult>? site = null)
    {
        IReadOnlyList<CheckResult>[] all = [Shown(results), Shown(upstream ?? []), Shown(site ?? [])];
        if (json)
            output.WriteLine(ToJson([.. all.SelectMany(list => list)]));
        else
            WriteTable(output, all[0], all[1], all[2]);
    }

    /// <summary>Some texts are from servers: each becomes one line of bounded length.</summary>
    private static List<CheckResult> Shown(IReadOnlyList<CheckResult> results) => [.. results.Select(
        result => result with
        {
            Name = PrintedText.Sentence(result.Name, MaxName),
            Detail = PrintedText.Sentence(result.Detail, MaxDetail),
        })];

    /// <summary>A test that hangs is a finding too.</summary>
    private static CheckResult Look(BackendCheck check)
    {
        var finding = new BackendFinding(false, check.IfItHangs);
        RunWithTimeout.Invoke(() => finding = check.Look(), StartChecks.Patience);
        return new(check.Name, finding.IsGood ? CheckStatus.Ok : CheckStatus.Warning, finding.Detail);
    }

    private static void WriteTable(TextWriter output, IReadOnlyList<CheckResult> results,
        IReadOnlyList<CheckResult> upstream, IReadOnlyList<CheckResult> site)
    {
        List<CheckResult> all = [.. results, .. upstream, .. site];
        var width = all.Max(r => r.Name.Length);
        foreach (var result in all)
            output.WriteLine($"{Word(result.Status),-7}  {result.Name.PadRight(width)}  {result.Detail}");
        var failed = results.Count(r => r.Status == CheckStatus.Failed);
        output.WriteLine(failed == 0
            ? "The daemon would start."
            : $"The daemon would not start: {failed} failed.");
        Sum(upstream, "The upstream answers.",
            "The upstream does not answer as it should: requests would fail.");
        Sum(site, "The site streams.", "The site does not stream: the failed lines say what to do.");

        void Sum(IReadOnlyList<CheckResult> of, string good, string bad)
        {
            if (of.Count > 0)
                output.WriteLine(of.All(r => r.Status != CheckStatus.Failed) ? good : bad);
        }
    }

    private static string ToJson(IReadOnlyList<CheckResult> results)
    {
        using var buffer = new MemoryStream();
        using (var json = new Utf8JsonWriter(buffer))
        {
            json.WriteStartObject();
            json.WriteBoolean("ok", results.All(r => r.Status != CheckStatus.Failed));
            json.WriteStartArray("checks");
            foreach (var result in results)
            {
                json.WriteStartObject();
                json.WriteString("name", result.Name);
                json.WriteString("status", Word(result.Status));
                json.WriteString("detail", result.Detail);
                json.WriteEndObject();
            }

            json.WriteEndArray();
            json.WriteEndObject();
        }

        return Encoding.UTF8.GetString(buffer.ToArray());
    }

    private static string Word(CheckStatus status) => status switch
    {
        CheckStatus.Ok => "ok",
        CheckStatus.Warning => "warning",
        _ => "failed",
    };
}
