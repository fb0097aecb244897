using System.Text.Json;
using System.Text.Json.Nodes;
using StreamingDaemon.Bench.Trials;

namespace StreamingDaemon.Bench.Report;

/// <summary>Every trial with all its figures, for programs to read.</summary>
internal static class JsonReport
{
    private static readonly JsonSerializerOptions s_indented = new() { WriteIndented = true };

    public static void Write(string path, IEnumerable<TrialResult> results)
    {
        var trials = new JsonArray([.. results.Select(Trial)]);
        File.WriteAllText(path, new JsonObject { ["trials"] = trials }.ToJsonString(s_indented) + "\n");
    }

    private static JsonNode Trial(TrialResult result)
    {
        var figures = new JsonObject();
        foreach (var figure in Figure.All)
        {
            if (figure.Value(result) is { } value)
                figures[figure.Name.Trim()] = value;
        }

        var load = result.Plan.Load;
        return new JsonObject
        {
            ["daemon"] = result.Plan.Label,
            ["command"] = result.Plan.Daemon,
            ["round"] = result.Round,
            ["clients"] = load.Tcp ? "tcp" : "unix",
            ["streams"] = result.Load.Total,
            ["rate"] = load.Rate,
            ["readers"] = load.Readers == Load.ReaderKind.Threads ? "threads" : "epoll",
            ["cold"] = result.Plan.Cold,
            ["concurrency"] = load.Concurrency,
            ["events"] = result.Expected.Events,
            ["bytes"] = result.Expected.Bytes.Length,
            ["figures"] = figures,
            ["collections"] = ToObject(result.Runtime?.Collections),
            ["syscalls"] = ToObject(result.Syscalls?.Calls),
            ["memory"] = new JsonArray([.. result.Memory.Select(m => new JsonArray(m.Seconds, m.Kb))]),
        };
    }

    private static JsonObject? ToObject<T>(IReadOnlyDictionary<string, T>? values)
    {
        if (values is null)
            return null;
        var json = new JsonObject();
        foreach (var (name, value) in values)
            json[name] = JsonValue.Create(value);
        return json;
    }
}
