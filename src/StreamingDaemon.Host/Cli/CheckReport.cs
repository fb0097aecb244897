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
    /// <summary>Findings for an unusable configuration: nothing else can be tested.</summary>
    public static IReadOnlyList<CheckResult> Of(ConfigurationException refused) =>
        [.. refused.Errors.Select(error => new CheckResult("configuration", CheckStatus.Failed, error))];

    /// <summary>Findings of the backends that can be made.</summary>
    public static IEnumerable<CheckResult> OfBackends(BackendSettings backends) => backends.Configured
        .SelectMany(backend => backend.Kind.Checks(backend.Options)).Select(Look);

    public static void Write(TextWriter output, IReadOnlyList<CheckResult> results, bool json)
    {
        if (json)
            output.WriteLine(ToJson(results));
        else
            WriteTable(output, results);
    }

    /// <summary>A test that hangs is a finding too.</summary>
    private static CheckResult Look(BackendCheck check)
    {
        var finding = new BackendFinding(false, check.IfItHangs);
        RunWithTimeout.Invoke(() => finding = check.Look(), StartChecks.Patience);
        return new(check.Name, finding.IsGood ? CheckStatus.Ok : CheckStatus.Warning, finding.Detail);
    }

    private static void WriteTable(TextWriter output, IReadOnlyList<CheckResult> results)
    {
        var width = results.Max(r => r.Name.Length);
        foreach (var result in results)
            output.WriteLine($"{Word(result.Status),-7}  {result.Name.PadRight(width)}  {result.Detail}");
        var failed = results.Count(r => r.Status == CheckStatus.Failed);
        output.WriteLine(failed == 0
            ? "The daemon would start."
            : $"The daemon would not start: {failed} failed.");
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
