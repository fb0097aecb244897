using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DocsTests;

/// <summary>The daemon's output in the pages, against its real output.</summary>
public sealed partial class SampleTests
{
    private const string Configuration = "docs/configuration.md";
    private const string Protocol = "docs/protocol.md";

    [Fact]
    public async Task Mistakes_in_the_configuration_are_told_as_the_page_shows()
    {
        using var directory = new TempDirectory();
        var file = directory.File("streaming-daemon.toml");
        await File.WriteAllTextAsync(file, "[server]\nsocket_mode = 0660\n");

        var (exitCode, _, said) = await DaemonProcess.RunAsync(
            new Dictionary<string, string> { ["MOCK_LATENCY_MS"] = "soon" }, "check", "--config", file);

        Assert.Equal(2, exitCode);
        // Wrapped for the page, which says so.
        var shown = string.Join('\n', Book.Printed(Configuration, "streaming-daemon: /etc"))
            .Replace("\n  ", " ", StringComparison.Ordinal);
        foreach (var line in shown.Split('\n'))
        {
            Assert.Contains(line.Split('…')[0], said.Replace(file, "/etc/streaming-daemon.toml", StringComparison.Ordinal),
                StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Usage_on_the_page_has_the_commands_and_options_that_there_are()
    {
        var page = string.Join('\n', Book.Printed(Configuration, "streaming-daemon [options]"));

        var (_, help, _) = await DaemonProcess.RunAsync("--help");
        var commands = CommandOfHelp().Matches(help.Split("Commands:")[1].Split("Configuration,")[0])
            .Select(m => m.Groups[1].Value).ToList();

        Assert.True(commands.Count > 2, help);
        Assert.Equal(commands.Order(), CommandOfPage().Matches(page).Select(m => m.Groups[1].Value).Order());
        foreach (var usage in page.Split("streaming-daemon ").Skip(2))
        {
            var (_, ofCommand, _) = await DaemonProcess.RunAsync(usage.Split(' ')[0], "--help");
            Assert.All(LongOption().Matches(usage).Select(m => m.Value),
                option => Assert.Contains(option, ofCommand, StringComparison.Ordinal));
        }
    }

    [Fact]
    public async Task Browser_gets_events_of_the_form_that_the_page_shows()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");
        using var client = TestClient.HandOver(daemon.SocketPath, """{"prompt":"hi"}""");

        var body = (await TestClient.ReadTextAsync(client)).Split("\r\n\r\n")[1];
        var events = body.Split("\n\n", StringSplitOptions.RemoveEmptyEntries);

        var shown = Book.Printed(Protocol, "data: ");
        Assert.Equal(events[^1], shown[^1]);
        Assert.All(shown.SkipLast(1).Concat(events.SkipLast(1)),
            one => Assert.Matches("^data: {\"content\":\"[^\"]+\"}$", one));
    }

    [GeneratedRegex("^  ([a-z]+) ", RegexOptions.Multiline)]
    private static partial Regex CommandOfHelp();

    [GeneratedRegex("^streaming-daemon ([a-z]+) ", RegexOptions.Multiline)]
    private static partial Regex CommandOfPage();

    [GeneratedRegex("--[a-z-]+")]
    private static partial Regex LongOption();
}
