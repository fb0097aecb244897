using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A spool in which others have put something, or from which they took something.</summary>
public sealed class DeliveryForeignFileTests : IDisposable
{
    /// <summary>Accepted just now: one that is too old would not be opened.</summary>
    private static readonly string s_order = $"{DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() * 1000:x16}";

    private static readonly string s_name = s_order + "-0000000000000007-msg_";

    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;
    private readonly TempDirectory _directory = new();

    public DeliveryForeignFileTests()
    {
        _site = new DeliverySite(_receiver.Url);
        Directory.CreateDirectory(Pending);
    }

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
        _directory.Dispose();
    }

    private string Pending => Path.Combine(_site.Spool, "pending");

    [Theory]
    [InlineData("link to a file")]
    [InlineData("link to nothing")]
    [InlineData("directory")]
    [InlineData("fifo")]
    [InlineData("odd names")]
    public async Task What_is_no_delivery_is_not_sent_and_holds_up_nothing(string what)
    {
        var path = Path.Combine(Pending, s_name + new string('a', 32) + ".json");
        await File.WriteAllTextAsync(_directory.File("secret"), """{"id":"x","secret":"of another file"}""");
        switch (what)
        {
            case "link to a file":
                File.CreateSymbolicLink(path, _directory.File("secret"));
                break;
            case "link to nothing":
                File.CreateSymbolicLink(path, _directory.File("nothing"));
                break;
            case "directory":
                Directory.CreateDirectory(path);
                break;
            case "fifo":
                // As many as are sent at once, so that one that hangs is noticed.
                for (var i = 0; i < 16; i++)
                    Posix.MakeFifo(Path.Combine(Pending, $"{s_order}-{i:x16}-msg_{i:x32}.json"));
                break;
            default:
                // The last but two: of a year that no clock says.
                foreach (var name in (string[])["x.json", "0400000000000000-0000000000000007-msg_" + new string('b', 32) + ".json", ".json", "README", s_name + "zz.json", s_name + new string('a', 32)])
                    await File.WriteAllTextAsync(Path.Combine(Pending, name), "not one");
                break;
        }

        await using var daemon = await _site.StartAsync("--delay", "0");
        for (var i = 0; i < 10; i++)
            await daemon.AskAsync($$"""{"prompt":"hi","user_id":{{i}},"request_id":"r{{i}}"}""");

        await _receiver.AcceptedAsync(10);
        Assert.Equal(10, _receiver.All.Count);
        Assert.DoesNotContain(_receiver.All, one => one.Body.TryGetProperty("secret", out _));
        var (code, list, _) = await _site.RunAsync("deliveries", "list");
        Assert.Equal(0, code);
        // What a name belongs to is seen when it is opened.
        Assert.EndsWith($"{(what == "fifo" ? 16 : 0)} waiting, 0 dead in {_site.Spool}\n", list, StringComparison.Ordinal);
    }

    [Fact]
    public async Task Spool_that_vanishes_is_made_again_and_what_was_in_it_is_no_longer_waited_for()
    {
        _receiver.Status = (_, _) => 500;
        await using var daemon = await _site.StartAsync("--delay", "0");
        await daemon.AskAsync("""{"prompt":"hi","user_id":1,"request_id":"before"}""");
        await Eventually.TrueAsync(() => _receiver.All.Count > 0);

        await Eventually.TrueAsync(() =>
        {
            try
            {
                Directory.Delete(_site.Spool, recursive: true);
                return true;
            }
            catch (IOException)
            {
                // The daemon has just noted that an attempt failed.
                return false;
            }
        });
        _receiver.Status = (_, _) => 204;
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","user_id":2,"request_id":"after"}""")).IsDone);

        var arrived = await _receiver.AcceptedAsync(1);
        Assert.Equal("after", arrived[0].Body.GetProperty("request_id").GetString());
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_pending"] == 0);
    }
}
