using System.Net;
using System.Net.Sockets;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary><c>streaming-daemon health</c>, which an image's HEALTHCHECK runs.</summary>
public sealed class HealthCommandTests
{
    [Theory]
    [InlineData("127.0.0.1")]
    [InlineData("0.0.0.0")]
    [InlineData("::")]
    public async Task Daemon_that_is_ready_is_healthy_wherever_it_listens(string address)
    {
        var environment = new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_MONITORING__METRICS_ADDRESS"] = address,
            // No proxy listens there: a health check that used it would fail.
            ["http_proxy"] = "http://127.0.0.1:1",
        };
        await using var daemon = await DaemonProcess.StartAsync(environment, true);

        var (exitCode, output, error) = await DaemonProcess.RunAsync(
            environment, "health", "--metrics", $"{daemon.MetricsPort}");

        Assert.Equal((0, "ok\n", ""), (exitCode, output, error));
    }

    [Fact]
    public async Task Health_and_send_need_no_key_that_only_the_service_can_read()
    {
        var environment = new Dictionary<string, string>
        {
            ["STREAMING_DAEMON_BACKEND__NAME"] = "openai",
            ["OPENAI_API_KEY_FILE"] = "$CREDENTIALS_DIRECTORY/openai-api-key",
            // As in the shell of somebody who has just written it into the file.
            ["OPENAI_API_KEY"] = "sk-of-the-test",
        };
        await using var daemon = await DaemonProcess.StartAsync("--delay", "0");

        var (exitCode, output, error) = await DaemonProcess.RunAsync(
            environment, "health", "--metrics", $"{daemon.MetricsPort}");
        Assert.Equal((0, "ok\n", ""), (exitCode, output, error));

        environment["STREAMING_DAEMON_SERVER__SOCKET"] = daemon.SocketPath;
        (exitCode, output, error) = await DaemonProcess.RunAsync(environment, "send", "--prompt", "hello");
        Assert.True(exitCode == 0, error);
        Assert.EndsWith("data: [DONE]\n\n", output, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Daemon_that_drains_is_not_healthy_and_says_so()
    {
        await using var daemon = await DaemonProcess.StartAsync("--delay", "1000");
        using var client = TestClient.HandOver(daemon.SocketPath, "{}");
        _ = await TestClient.ReadUntilAsync(client, "data:");
        daemon.Signal(15);
        await Eventually.TrueAsync(() => daemon.LogLines("draining").Count > 0);

        var (exitCode, output, _) = await DaemonProcess.RunAsync(
            "health", "--json", "--metrics", $"{daemon.MetricsPort}");

        Assert.Equal(1, exitCode);
        using var answer = JsonDocument.Parse(output);
        Assert.Equal("draining", answer.RootElement.GetProperty("status").GetString());
        Assert.Contains("503", answer.RootElement.GetProperty("detail").GetString(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Port_on_which_nobody_listens_or_nobody_answers_is_unreachable()
    {
        using var silent = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
        silent.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        var port = ((IPEndPoint)silent.LocalEndPoint!).Port;

        var refused = await DaemonProcess.RunAsync("health", "--metrics", $"{port}");
        silent.Listen();
        var unanswered = await DaemonProcess.RunAsync("health", "--metrics", $"{port}");

        foreach (var (exitCode, output, _) in ((int, string, string)[])[refused, unanswered])
        {
            Assert.Equal(1, exitCode);
            Assert.StartsWith($"unreachable: 127.0.0.1:{port}: ", output, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Configuration_without_a_metrics_port_has_nobody_to_ask()
    {
        var (exitCode, output, _) = await DaemonProcess.RunAsync("health");

        Assert.Equal(1, exitCode);
        Assert.Contains("--metrics PORT", output, StringComparison.Ordinal);
    }
}
