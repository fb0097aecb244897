using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A spool whose disk fails in other ways than by being full, and is well again later.</summary>
[Trait("Needs", "Tools")]
public sealed class DeliveryDiskTests : IDisposable
{
    private const string Lost = "streaming_daemon_deliveries_total{result=\"lost\"}";
    private const string Accepted = "streaming_daemon_deliveries_total{result=\"accepted\"}";
    private const UnixFileMode AllOfOwner = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;

    public DeliveryDiskTests() => _site = new DeliverySite(_receiver.Url);

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Fact]
    public async Task Disk_without_inodes_is_told_and_counted_and_leaves_nothing_half()
    {
        _receiver.Down();
        await using var daemon = await StartOnDiskAsync("size=4m,nr_inodes=20");

        for (var i = 0; i < 30; i++)
            Assert.True((await daemon.AskAsync($$"""{"prompt":"hi","request_id":"{{i}}"}""")).IsDone);
        var metrics = await daemon.MetricValuesAsync();
        Assert.Equal(30, metrics[Accepted] + metrics[Lost]);
        Assert.InRange(metrics[Accepted], 1, 29);

        _receiver.Up();
        await _receiver.AcceptedAsync((int)metrics[Accepted]);
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_pending"] == 0);
        await Eventually.TrueAsync(() => Inside(daemon, "pending").Count == 0);
    }

    [Fact]
    public async Task Delivery_that_has_arrived_and_cannot_be_removed_is_told_and_not_sent_again()
    {
        var isHeld = new TaskCompletionSource();
        _receiver.BeforeAnswer = (_, _) => isHeld.Task;
        await using var daemon = await StartPowerlessAsync();
        for (var i = 0; i < 5; i++)
            await daemon.AskAsync($$"""{"prompt":"hi","user_id":{{i}},"request_id":"{{i}}"}""");
        await Eventually.TrueAsync(() => _receiver.All.Count == 5);

        // As on a disk that is read-only.
        File.SetUnixFileMode(Pending, UnixFileMode.UserRead | UnixFileMode.UserExecute);
        isHeld.SetResult();
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveryNotRemoved\"").Count == 1);
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_pending"] == 0);
        Assert.Equal(5, _site.Pending.Count);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","request_id":"lost"}""")).IsDone);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"AnswerNotDelivered\"").Count > 0);
        Assert.Contains("denied", Assert.Single(daemon.LogLines("\"Name\":\"AnswerNotDelivered\"")), StringComparison.Ordinal);

        // The directory is read again.
        await TouchAsync(1);
        File.SetUnixFileMode(Pending, AllOfOwner);
        await TouchAsync(2);
        await Eventually.TrueAsync(() => _site.Pending.Count == 0);
        await daemon.AskAsync("""{"prompt":"hi","request_id":"after"}""");
        await _receiver.AcceptedAsync(6);
        Assert.Equal(6, _receiver.All.Count);
    }

    [Fact]
    public async Task Spool_that_is_replaced_is_locked_again_and_no_two_daemons_send_from_it()
    {
        await using var first = await _site.StartAsync("--delay", "0");
        await first.AskAsync("""{"prompt":"hi","request_id":"before"}""");
        await _receiver.AcceptedAsync(1);

        Directory.Move(_site.Spool, _site.Spool + ".old");
        await first.AskAsync("""{"prompt":"hi","request_id":"after"}""");
        await _receiver.AcceptedAsync(2);
        await Eventually.TrueAsync(() => File.Exists(Path.Combine(_site.Spool, "lock")));
        await using var second = await _site.StartAsync("--delay", "0");

        await Eventually.TrueAsync(() => second.LogLines("\"Name\":\"DeliveriesElsewhere\"").Count == 1);
        Assert.Equal(1, (await first.MetricValuesAsync())["streaming_daemon_deliveries_sender"]);
    }

    [Fact]
    public async Task Spool_that_may_not_be_read_for_a_moment_is_read_when_it_may_be()
    {
        _receiver.Down();
        await using (var before = await _site.StartAsync("--delay", "0"))
            await before.AskAsync("""{"prompt":"hi","request_id":"waits"}""");
        await using var daemon = await StartPowerlessAsync();
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveriesWaiting\"").Count == 1);

        File.SetUnixFileMode(Pending, UnixFileMode.None);
        await TouchAsync(1);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"SpoolUnreadable\"").Count == 1);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","request_id":"lost"}""")).IsDone);
        File.SetUnixFileMode(Pending, AllOfOwner);
        _receiver.Up();

        Assert.Equal("waits", (await _receiver.AcceptedAsync(1))[0].Body.GetProperty("request_id").GetString());
        Assert.Equal(1, (await daemon.MetricValuesAsync())[Lost]);
    }

    [Fact]
    public async Task Disk_that_becomes_read_only_is_told_and_nothing_is_sent_twice_or_lost_that_was_there()
    {
        var isHeld = new TaskCompletionSource();
        _receiver.BeforeAnswer = (_, _) => isHeld.Task;
        await using var daemon = await StartOnDiskAsync("size=4m");
        for (var i = 0; i < 3; i++)
            Assert.True((await daemon.AskAsync($$"""{"prompt":"hi","user_id":{{i}},"request_id":"{{i}}"}""")).IsDone);
        await Eventually.TrueAsync(() => _receiver.All.Count == 3);

        // Mounted over itself: the daemon's lock is a file that is open to write, with which no disk becomes read-only.
        await InsideAsync(daemon, $"mount --bind {_site.Spool} {_site.Spool} && mount -o remount,bind,ro {_site.Spool}");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","request_id":"lost"}""")).IsDone);
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"AnswerNotDelivered\"").Count == 1);
        Assert.Contains("Read-only", daemon.LogLines("\"Name\":\"AnswerNotDelivered\"")[0], StringComparison.Ordinal);
        isHeld.SetResult();
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveryNotRemoved\"").Count == 1);

        await InsideAsync(daemon, $"umount {_site.Spool}");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","request_id":"after"}""")).IsDone);
        await _receiver.AcceptedAsync(4);
        Assert.Equal(4, _receiver.All.Count);
        Assert.Equal(1, (await daemon.MetricValuesAsync())[Lost]);
    }

    private string Pending => Path.Combine(_site.Spool, "pending");

    /// <summary>A disk of its own for the spool, in a mount namespace of the daemon's.</summary>
    private Task<DaemonProcess> StartOnDiskAsync(string options)
    {
        Directory.CreateDirectory(_site.Spool);
        string[] under = ["unshare", "--mount", "--map-root-user", "sh", "-c",
            $"mount -t tmpfs -o {options} tmpfs {_site.Spool} && exec \"$@\"", "sh"];
        return DaemonProcess.StartUnderAsync(under, _site.Environment, true, "--delay", "0");
    }

    /// <summary>Runs a command in the daemon's mount namespace.</summary>
    private static async Task InsideAsync(DaemonProcess daemon, string command)
    {
        using var mount = System.Diagnostics.Process.Start("nsenter", ["--target", $"{daemon.Pid}", "--user",
            "--mount", "--preserve-credentials", "sh", "-c", command]);
        await mount.WaitForExitAsync().WaitAsync(TestClient.Patience);
        Assert.Equal(0, mount.ExitCode);
    }

    /// <summary>The files on that disk.</summary>
    private List<string> Inside(DaemonProcess daemon, string directory) =>
        [.. Directory.GetFiles($"/proc/{daemon.Pid}/root{_site.Spool}/{directory}")];

    /// <summary>Root without its powers over files; anybody else has none.</summary>
    private Task<DaemonProcess> StartPowerlessAsync()
    {
        const string powers = "-dac_override,-dac_read_search";
        string[] powerless = Environment.IsPrivilegedProcess
            ? ["setpriv", "--bounding-set", powers, "--inh-caps", powers] : ["env"];
        return DaemonProcess.StartUnderAsync(powerless, _site.Environment, true, "--delay", "0");
    }

    /// <summary>As another process that has changed something.</summary>
    private Task TouchAsync(long number) =>
        File.WriteAllBytesAsync(Path.Combine(_site.Spool, "changed"), BitConverter.GetBytes(number));
}
