using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The mappings of deploy/logs, against lines that a daemon writes.</summary>
public sealed partial class LogMappingTests
{
    [Fact]
    public async Task Every_field_of_the_access_log_has_a_type_that_takes_its_value()
    {
        using var template = JsonDocument.Parse(File.ReadAllText(Tool.InRepository("deploy", "logs", "elasticsearch.json")));
        var types = template.RootElement.GetProperty("template").GetProperty("mappings").GetProperty("properties")
            .EnumerateObject().ToDictionary(p => p.Name, p => p.Value.GetProperty("type").GetString());
        var line = await LineAsync();

        foreach (var field in line.EnumerateObject().Where(f => f.Name[0] != '@' && f.Name != "EventId"))
        {
            Assert.True(types.TryGetValue(field.Name, out var type), field.Name);
            Assert.True(field.Value.ValueKind switch
            {
                JsonValueKind.Number => type is "long" or "double" or "short" or "keyword",
                JsonValueKind.True or JsonValueKind.False => type == "boolean",
                JsonValueKind.Null => true,
                _ => type == "keyword",
            }, $"{field.Name} is no {type}");
        }

        // What the line has no more, nobody maps.
        var known = line.EnumerateObject().Select(f => f.Name).ToHashSet();
        Assert.All(types.Keys.Where(k => char.IsUpper(k[0])), name => Assert.Contains(name.Split('.')[0], known));
    }

    [Fact]
    public async Task Fields_that_loki_and_filebeat_take_out_of_a_line_are_in_it()
    {
        var known = (await LineAsync()).EnumerateObject().Select(f => f.Name).ToHashSet();
        var loki = File.ReadAllText(Tool.InRepository("deploy", "logs", "loki.alloy"));
        var filebeat = File.ReadAllText(Tool.InRepository("deploy", "logs", "filebeat.yml"));

        var taken = LokiField().Matches(Taken().Match(loki).Groups[1].Value).Select(m => m.Groups[1].Value).ToList();
        Assert.Equal(["@t", "@l", "Outcome", "Traceparent"], taken);
        // Information has no level, and only an exception has a stack.
        Assert.All(taken.Concat(FilebeatField().Matches(filebeat).Select(m => m.Groups[1].Value)).Except(["@l", "@x"]),
            field => Assert.Contains(field, known));
        foreach (var text in (string[])[loki, filebeat])
        {
            Assert.Contains("_SYSTEMD_UNIT=streaming-daemon.service", text, StringComparison.Ordinal);
            Assert.Contains("_SYSTEMD_UNIT=streaming-daemon-between.service", text, StringComparison.Ordinal);
        }

        // The link of the dashboard.
        Assert.Contains("{service_name=`streaming-daemon`}", File.ReadAllText(Expressions.DashboardPath),
            StringComparison.Ordinal);
        Assert.Contains("service_name = \"streaming-daemon\"", loki, StringComparison.Ordinal);
    }

    private static async Task<JsonElement> LineAsync()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi","user_id":7}""");
        _ = await TestClient.ReadToEndAsync(client);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Outcome\"").Count > 0);
        return JsonDocument.Parse(daemon.LogLines("\"Outcome\"")[0]).RootElement;
    }

    [GeneratedRegex("expressions = \\{(.*)\\}")]
    private static partial Regex Taken();

    [GeneratedRegex("= \"(?:\\\\\")?(@?\\w+)")]
    private static partial Regex LokiField();

    [GeneratedRegex("\"(@[a-z])\"")]
    private static partial Regex FilebeatField();
}
