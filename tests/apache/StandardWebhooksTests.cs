namespace StreamingDaemon.ApacheTests;

/// <summary>What the daemon signs, judged by npm's <c>standardwebhooks</c>, unmodified.</summary>
public sealed class StandardWebhooksTests : IDisposable
{
    private const string Secret = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    private const string OtherSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    private static readonly Lazy<string> s_receiver = new(() => NpmPackages.Install("webhooks", "receive.mjs"));

    private readonly string _data = Directory.CreateTempSubdirectory("handoff-webhooks-").FullName;

    public void Dispose() => Directory.Delete(_data, recursive: true);

    [Theory]
    [InlineData("日本 ☔ é")]
    [InlineData("</script> \\\" \\\\ \\u2028")]
    public void Library_of_the_standard_accepts_a_delivery_whatever_its_text(string note)
    {
        using var receiver = Receiver(Secret);
        using var daemon = Daemon(receiver, Secret);

        Ask(note);

        Wait.Until(() => receiver.Output.Contains("verified msg_", StringComparison.Ordinal),
            () => receiver.Output + daemon.Log);
        string expected = System.Text.Json.JsonDocument.Parse($"\"{note}\"").RootElement.GetString()!;
        Assert.EndsWith($" r-1 {expected}", receiver.Output.TrimEnd('\n'), StringComparison.Ordinal);
    }

    [Fact]
    public void Library_of_the_standard_refuses_a_delivery_that_another_secret_signed()
    {
        using var receiver = Receiver(OtherSecret);
        using var daemon = Daemon(receiver, Secret);

        Ask("x");

        Wait.Until(() => receiver.Output.Contains("refused WebhookVerificationError", StringComparison.Ordinal),
            () => receiver.Output + daemon.Log);
        Wait.Until(() => daemon.Log.Contains("DeliveryDead", StringComparison.Ordinal), () => daemon.Log);
        Assert.DoesNotContain("verified", receiver.Output, StringComparison.Ordinal);
    }

    [Fact]
    public void Library_of_the_standard_accepts_the_old_secret_and_the_new_one_while_both_sign()
    {
        using var before = Receiver(Secret);
        using var after = Receiver(OtherSecret);
        foreach (var receiver in new[] { before, after })
        {
            using var daemon = Daemon(receiver, OtherSecret, Secret);
            Ask("x");
            Wait.Until(() => receiver.Output.Contains("verified msg_", StringComparison.Ordinal),
                () => receiver.Output + daemon.Log);
        }
    }

    private string Socket => Path.Combine(_data, "daemon.sock");

    private static ChildProcess Receiver(string secret)
    {
        var receiver = new ChildProcess(Tools.Node, [s_receiver.Value, secret]);
        Wait.Until(() => receiver.Output.Contains("port ", StringComparison.Ordinal), () => receiver.Output);
        return receiver;
    }

    private DaemonUnderTest Daemon(ChildProcess receiver, params string[] secrets)
    {
        string secretFile = Path.Combine(_data, "secret");
        File.WriteAllLines(secretFile, secrets);
        string port = receiver.Output.Split('\n')[0]["port ".Length..].Trim();
        string configuration = Path.Combine(_data, "daemon.toml");
        File.WriteAllText(configuration, $"""
            [delivery]
            url = "http://127.0.0.1:{port}/deliver"
            secret_file = "{secretFile}"
            spool_dir = "{Path.Combine(_data, "spool")}"
            which = "all"
            """);
        return new DaemonUnderTest(Socket, delayMs: 0, more: ["--config", configuration]);
    }

    private void Ask(string note)
    {
        string data = $$$"""{"prompt":"hello","user_id":7,"request_id":"r-1","delivery":{"note":"{{{note}}}"}}""";
        string[] command = [.. DaemonUnderTest.CommandLine.Split(' '), "send", "--socket", Socket, "--data", data];
        var (exitCode, said) = ChildProcess.Run(command[0], command[1..]);
        Assert.True(exitCode == 0, said);
    }
}
