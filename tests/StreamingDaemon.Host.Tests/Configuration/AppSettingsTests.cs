using StreamingDaemon.Host.Configuration;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

public sealed class AppSettingsTests : IDisposable
{
    private readonly Sandbox _sandbox = new();

    public void Dispose() => _sandbox.Dispose();

    private string Error(string json)
    {
        _sandbox.Write("appsettings.json", json);
        return Assert.Single(_sandbox.Errors());
    }

    [Fact]
    public void The_tree_is_that_of_the_TOML_file_and_comments_are_allowed()
    {
        _sandbox.Write("appsettings.json",
            """
            {
              // for the image
              "server": { "socket_mode": "0600", "backlog": 7, "allowed_gids": [33, 0] },
              "performance": { "sqpoll": true }
            }
            """);

        var options = _sandbox.Load();

        Assert.Equal([33, 0], options.Server.AllowedGids);
        Assert.Equal((0x180, 7, true),
            (options.Server.SocketMode, options.Server.Backlog, options.Performance.SqPoll));
    }

    [Theory]
    [InlineData("""{"server": {"backlog": "7"}}""",
        "appsettings.json: server.backlog: \"7\" is a string; expected an integer from 1 to 65535")]
    [InlineData("""{"server": {"backlok": 7}}""",
        "appsettings.json: server.backlok: unknown key; did you mean server.backlog?")]
    [InlineData("""{"server": {"backlog": 7, "backlog": 8}}""",
        "appsettings.json: server.backlog: sets the same option as appsettings.json: server.backlog; " +
        "keep one")]
    [InlineData("""{"server": {"backlog": null}}""", "appsettings.json: server.backlog: " +
        "the value has a type that no option takes; expected an integer from 1 to 65535")]
    [InlineData("[]", "appsettings.json: the root is not an object; expected { \"server\": { … } }")]
    [InlineData("{\n  \"openai\": sk-hidden }", "appsettings.json:2:13: not valid JSON")]
    public void A_mistake_is_refused_with_file_and_key(string json, string expected) =>
        Assert.Equal(expected, Error(json));

    [Fact]
    public void The_file_that_is_shipped_changes_nothing()
    {
        var shipped = Path.Combine(AppContext.BaseDirectory, "appsettings.json");
        File.Copy(shipped, _sandbox.PathOf("appsettings.json"));

        Assert.Equal(new DaemonOptions(), _sandbox.Load());
    }
}
