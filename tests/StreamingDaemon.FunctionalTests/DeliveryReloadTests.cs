using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Deliveries whose options or directories change while the daemon runs.</summary>
public sealed class DeliveryReloadTests : IDisposable
{
    private const int SigHup = 1;
    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;

    public DeliveryReloadTests() => _site = new DeliverySite(_receiver.Url);

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Fact]
    public async Task More_deliveries_are_sent_at_once_after_sighup_raised_the_limit()
    {
        var goOn = new TaskCompletionSource();
        var open = 0;
        _receiver.BeforeAnswer = async (_, _) =>
        {
            Interlocked.Increment(ref open);
            await goOn.Task.WaitAsync(TestClient.Patience);
        };
        using var directory = new TempDirectory();
        var file = directory.File("daemon.toml");
        await File.WriteAllTextAsync(file, "[delivery]\nconcurrency = 1\n");
        await using var daemon = await _site.StartAsync("--delay", "0", "--config", file);
        for (var user = 0; user < 6; user++)
            await daemon.AskAsync($$"""{"prompt":"hi","user_id":{{user}}}""");
        await Eventually.TrueAsync(() => Volatile.Read(ref open) == 1);

        await File.WriteAllTextAsync(file, "[delivery]\nconcurrency = 4\n");
        daemon.Signal(SigHup);

        await Eventually.TrueAsync(() => Volatile.Read(ref open) == 4);
        goOn.SetResult();
        await _receiver.AcceptedAsync(6);
        Assert.Empty(daemon.LogLines("\"Name\":\"DeliveryFailed\""));
    }

    [Fact]
    public async Task Delivery_is_signed_with_both_secrets_while_the_secret_changes()
    {
        const string next = "whsec_bmV4dA==";
        await using var daemon = await _site.StartAsync("--delay", "0");

        await File.WriteAllTextAsync(_site.SecretFile, $"{next}\n{DeliveryReceiver.Secret}\n");
        daemon.Signal(SigHup);
        await Eventually.TrueAsync(async () =>
        {
            await daemon.AskAsync("""{"prompt":"hi"}""");
            await Eventually.TrueAsync(() => _site.Pending.Count == 0);
            return _receiver.All[^1].Signatures == 2;
        });
        // The receiver has the new one alone.
        _receiver.Key = next;
        await daemon.AskAsync("""{"prompt":"hi","request_id":"last"}""");
        await Eventually.TrueAsync(() => _site.Pending.Count == 0);

        Assert.Equal("last", _receiver.Accepted[^1].Body.GetProperty("request_id").GetString());
        Assert.Empty(daemon.LogLines("\"Name\":\"DeliveryDead\""));
    }

    [Theory]
    [InlineData("dead")]
    [InlineData("pending")]
    [InlineData("")]
    public async Task Refused_delivery_is_dead_also_if_somebody_removed_the_directory(string removed)
    {
        _receiver.Status = (_, _) => 400;
        await using var daemon = await _site.StartAsync("--delay", "0");
        await daemon.AskAsync("""{"prompt":"hi","user_id":1,"request_id":"a"}""");
        await Eventually.TrueAsync(() => _site.Dead.Count == 1);

        Directory.Delete(Path.Combine(_site.Spool, removed), recursive: true);
        await daemon.AskAsync("""{"prompt":"hi","user_id":1,"request_id":"b"}""");

        await Eventually.TrueAsync(() => _site.Dead.Count == (removed == "pending" ? 2 : 1) && _site.Pending.Count == 0);
        Assert.Equal(2, _receiver.All.Count);
    }
}
