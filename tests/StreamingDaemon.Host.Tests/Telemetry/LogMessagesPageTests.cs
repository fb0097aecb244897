using System.Reflection;
using System.Text.RegularExpressions;
using Microsoft.Extensions.Logging;
using StreamingDaemon.Host.Hosting;
using Xunit;

namespace StreamingDaemon.Host.Tests.Telemetry;

public sealed partial class LogMessagesPageTests
{
    private static List<LoggerMessageAttribute> Messages { get; } =
        [.. typeof(DaemonHost).Assembly.GetTypes()
            .SelectMany(type => type.GetMethods(
                BindingFlags.Static | BindingFlags.Instance | BindingFlags.Public | BindingFlags.NonPublic
                | BindingFlags.DeclaredOnly))
            .Select(method => method.GetCustomAttribute<LoggerMessageAttribute>())
            .OfType<LoggerMessageAttribute>()];

    [Fact]
    public void Every_message_of_the_log_is_in_the_page_word_for_word()
    {
        var page = File.ReadAllLines(Repository.PathOf("docs", "log-messages.md"))
            .Select(line => Row().Match(line)).Where(row => row.Success)
            .Select(row => (row.Groups["id"].Value, row.Groups["name"].Value, row.Groups["level"].Value,
                row.Groups["message"].Value)).ToList();

        Assert.True(Messages.Count > 20, "no messages were found");
        Assert.Equal(Messages.OrderBy(m => m.EventId).Select(m =>
            ($"{m.EventId}", m.EventName ?? "", LevelOf(m), m.Message)), page);
    }

    [Fact]
    public void Id_and_name_of_a_message_are_its_own()
    {
        Assert.Equal(Messages.Count, Messages.Select(m => m.EventId).Distinct().Count());
        Assert.Equal(Messages.Count, Messages.Select(m => m.EventName).Distinct().Count());
        Assert.All(Messages, m => Assert.False(string.IsNullOrEmpty(m.EventName), m.Message));
    }

    [Fact]
    public void Every_line_is_written_by_a_message_of_that_list()
    {
        var direct = Repository.Sources("src").SelectMany(file => DirectCall().Matches(File.ReadAllText(file))
            .Select(call => $"{file}: {call.Value}"));

        Assert.Empty(direct);
    }

    /// <summary>The level of StreamEnded depends on how the stream ended.</summary>
    private static string LevelOf(LoggerMessageAttribute message) =>
        message.Level == LogLevel.None ? "by outcome" : message.Level.ToString();

    [GeneratedRegex(@"^\| (?<id>\d+) \| `(?<name>\w+)` \| (?<level>[\w ]+) \| `(?<message>[^`]+)` \| .+ \|$")]
    private static partial Regex Row();

    [GeneratedRegex(@"\.Log(Trace|Debug|Information|Warning|Error|Critical)\(")]
    private static partial Regex DirectCall();
}
