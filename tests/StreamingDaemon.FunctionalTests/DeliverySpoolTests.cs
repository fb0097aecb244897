using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>What happens to a delivery until it has arrived: faults of the receiver, of the daemon, of the
/// disk, and what an operator does.</summary>
public sealed partial class DeliverySpoolTests : IDisposable
{
    private const int SigKill = 9;
    private const int SigTerm = 15;
    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;

    public DeliverySpoolTests() => _site = new DeliverySite(_receiver.Url);

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Theory]
    [InlineData(302)]
    [InlineData(408)]
    [InlineData(409)]
    [InlineData(429)]
    [InlineData(500)]
    [InlineData(503)]
    public async Task Status_that_may_pass_is_met_with_the_same_delivery_again(int status)
    {
        _receiver.Status = (_, times) => times < 3 ? status : 200;
        await using var daemon = await _site.StartAsync("--delay", "0");

        await daemon.AskAsync("""{"prompt":"hi"}""");
        await _receiver.AcceptedAsync(1);

        Assert.Equal(3, _receiver.All.Count);
        Assert.All(_receiver.All, delivery =>
        {
            Assert.Equal(_receiver.All[0].Id, delivery.Id);
            Assert.Equal(_receiver.All[0].Raw, delivery.Raw);
        });
        await Eventually.TrueAsync(() => _site.Pending.Count == 0);
        Assert.Equal(2, (await daemon.MetricValuesAsync())["streaming_daemon_delivery_failures_total"]);
        Assert.Empty(Directory.GetFiles(_site.Spool + "/pending"));
    }

    [Fact]
    public async Task Refused_delivery_is_kept_and_an_operator_lists_retries_and_drops_it()
    {
        _receiver.Status = (_, _) => 400;
        await using var daemon = await _site.StartAsync("--delay", "0");
        await daemon.AskAsync("""{"prompt":"hi","user_id":1,"request_id":"a"}""");
        await daemon.AskAsync("""{"prompt":"hi","user_id":1,"request_id":"b"}""");
        await Eventually.TrueAsync(() => _site.Dead.Count == 2 && _site.Pending.Count == 0);
        Assert.Single(daemon.LogLines("\"Name\":\"DeliveryDead\""));

        var listed = Json(await _site.RunAsync("deliveries", "list", "--json"));
        Assert.All(listed, one => Assert.Equal(("dead", 1, "HTTP 400"), (one.GetProperty("state").GetString(),
            one.GetProperty("attempts").GetInt32(), one.GetProperty("last_error").GetString())));
        var ids = listed.Select(one => one.GetProperty("id").GetString()!).ToList();
        var (_, table, _) = await _site.RunAsync("deliveries", "list");
        Assert.Contains($"{ids[0]}  dead", table, StringComparison.Ordinal);
        Assert.EndsWith($"0 waiting, 2 dead in {_site.Spool}\n", table, StringComparison.Ordinal);

        _receiver.Status = (_, _) => 204;
        Assert.Equal((0, "1 to be sent at once\n", ""), await _site.RunAsync("deliveries", "retry", ids[0]));
        Assert.Equal(ids[0], Assert.Single(await _receiver.AcceptedAsync(1)).Id);
        Assert.Equal((0, "1 dropped\n", ""), await _site.RunAsync("deliveries", "drop", "--all"));
        Assert.Empty(Directory.GetFiles(_site.Spool + "/dead"));

        var (code, _, error) = await _site.RunAsync("deliveries", "drop", ids[1]);
        Assert.Equal(1, code);
        Assert.Contains($"no delivery {ids[1]} in {_site.Spool}", error, StringComparison.Ordinal);
        Assert.Equal(2, (await _site.RunAsync("deliveries", "retry")).ExitCode);
    }

    [Fact]
    public async Task Operator_who_asks_for_it_has_a_waiting_delivery_sent_at_once()
    {
        // A quarter of an hour, as the receiver says; nobody waits for it here.
        _receiver.BeforeAnswer = (_, response) =>
        {
            response.Headers["Retry-After"] = "900";
            return Task.CompletedTask;
        };
        _receiver.Status = (_, times) => times == 1 ? 500 : 204;
        await using var daemon = await _site.StartAsync("--delay", "0");
        await daemon.AskAsync("""{"prompt":"hi"}""");
        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveryFailed\"").Count == 1);
        Assert.Contains("\"Seconds\":900", daemon.LogLines("\"Name\":\"DeliveryFailed\"")[0], StringComparison.Ordinal);

        await _site.RunAsync("deliveries", "retry", "--all");

        await _receiver.AcceptedAsync(1);
    }

    [Fact]
    public async Task Deliveries_of_a_user_arrive_in_their_order_and_a_failing_one_holds_up_only_them()
    {
        var isFixed = false;
        _receiver.Status = (delivery, _) =>
            !isFixed && delivery.Body.GetProperty("request_id").GetString() == "a1" ? 500 : 204;
        await using var daemon = await _site.StartAsync("--delay", "0");
        foreach (var (user, id) in ((string, string)[])[("ann", "a1"), ("ann", "a2"), ("bob", "b1"), ("ann", "a3"), ("bob", "b2")])
            await daemon.AskAsync($$"""{"prompt":"hi","user_id":"{{user}}","request_id":"{{id}}"}""");

        Assert.Equal(["b1", "b2"], Ids(await _receiver.AcceptedAsync(2)));
        Assert.DoesNotContain("a2", Ids(_receiver.All));
        isFixed = true;

        Assert.Equal(["b1", "b2", "a1", "a2", "a3"], Ids(await _receiver.AcceptedAsync(5)));
    }

    [Fact]
    public async Task Killed_daemon_has_lost_nothing_and_the_next_one_delivers_it()
    {
        _receiver.Down();
        await using (var daemon = await _site.StartAsync("--delay", "0"))
        {
            for (var i = 0; i < 5; i++)
                Assert.True((await daemon.AskAsync($$"""{"prompt":"hi","request_id":"{{i}}"}""")).IsDone);
            daemon.Signal(SigKill);
            await daemon.ExitCodeAsync();
        }

        Assert.Equal(5, _site.Pending.Count);
        // Of a daemon that died while it wrote.
        var half = Path.Combine(_site.Spool, "pending", "half.tmp");
        await File.WriteAllTextAsync(half, "{");
        File.SetLastWriteTimeUtc(half, DateTime.UtcNow.AddHours(-2));
        _receiver.Up();
        await using var next = await _site.StartAsync("--delay", "0");

        Assert.Equal(["0", "1", "2", "3", "4"], Ids(await _receiver.AcceptedAsync(5)).Order(StringComparer.Ordinal));
        Assert.Single(next.LogLines("\"Name\":\"DeliveriesWaiting\""));
        Assert.False(File.Exists(half));
    }

    [Fact]
    public async Task Stopped_daemon_leaves_what_has_not_arrived_to_the_next_one()
    {
        var isHeld = new TaskCompletionSource();
        _receiver.BeforeAnswer = (_, _) => isHeld.Task;
        await using (var daemon = await _site.StartAsync("--delay", "0"))
        {
            await daemon.AskAsync("""{"prompt":"hi"}""");
            await Eventually.TrueAsync(() => _receiver.All.Count == 1);
            daemon.Signal(SigTerm);
            Assert.Equal(0, await daemon.ExitCodeAsync());
        }

        Assert.Single(_site.Pending);
        isHeld.SetResult();
        await using var next = await _site.StartAsync("--delay", "0");
        Assert.Equal(_receiver.All[0].Id, (await _receiver.AcceptedAsync(2))[^1].Id);
    }

    [Fact]
    public async Task Two_daemons_with_one_spool_send_each_delivery_once_and_the_second_takes_over()
    {
        _receiver.BeforeAnswer = (_, _) => Task.Delay(20);
        await using var first = await _site.StartAsync("--delay", "0");
        await using var second = await _site.StartAsync("--delay", "0");
        await Eventually.TrueAsync(() => second.LogLines("\"Name\":\"DeliveriesElsewhere\"").Count == 1);
        for (var i = 0; i < 5; i++)
        {
            await first.AskAsync($$"""{"prompt":"hi","request_id":"f{{i}}"}""");
            await second.AskAsync($$"""{"prompt":"hi","request_id":"s{{i}}"}""");
        }

        await _receiver.AcceptedAsync(10);
        Assert.Equal(10, Ids(_receiver.All).Distinct().Count());
        Assert.Equal((10, 1), (_receiver.All.Count, _receiver.MostAtOnce));
        Assert.Equal((1, 0), ((await first.MetricValuesAsync())["streaming_daemon_deliveries_sender"],
            (await second.MetricValuesAsync())["streaming_daemon_deliveries_sender"]));

        first.Signal(SigKill);
        await second.AskAsync("""{"prompt":"hi","request_id":"after"}""");
        await Eventually.TrueAsync(() => Ids(_receiver.Accepted).Contains("after"));
    }

    [Fact]
    public async Task Deliveries_of_a_user_keep_their_order_whichever_daemon_of_a_spool_wrote_them()
    {
        await using var sender = await _site.StartAsync("--delay", "0");
        await using var other = await _site.StartAsync("--delay", "0");
        await Eventually.TrueAsync(() => other.LogLines("\"Name\":\"DeliveriesElsewhere\"").Count == 1);
        for (var i = 0; i < 10; i++)
        {
            await other.AskAsync($$"""{"prompt":"hi","user_id":7,"request_id":"{{(2 * i) + 10}}"}""");
            await sender.AskAsync($$"""{"prompt":"hi","user_id":7,"request_id":"{{(2 * i) + 11}}"}""");
        }

        Assert.Equal(Enumerable.Range(10, 20).Select(i => $"{i}"), Ids(await _receiver.AcceptedAsync(20)));
    }

    [Theory]
    [InlineData(500)]
    [InlineData(400)]
    [InlineData(204)]
    public async Task Delivery_that_is_dropped_while_it_is_sent_leaves_nothing_behind(int status)
    {
        var answered = new TaskCompletionSource();
        _receiver.BeforeAnswer = (_, _) => answered.Task;
        _receiver.Status = (_, _) => status;
        await using var daemon = await _site.StartAsync("--delay", "0");
        await daemon.AskAsync("""{"prompt":"hi","user_id":7,"request_id":"a"}""");
        await Eventually.TrueAsync(() => _receiver.Requests == 1);

        var (code, output, _) = await _site.RunAsync("deliveries", "drop", "--all");
        Assert.Equal((0, "1 dropped\n"), (code, output));
        answered.SetResult();
        _receiver.Status = (_, _) => 204;
        await daemon.AskAsync("""{"prompt":"hi","user_id":7,"request_id":"b"}""");

        await Eventually.TrueAsync(() => Ids(_receiver.Accepted).Contains("b"));
        await Eventually.TrueAsync(async () =>
            (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_pending"] == 0);
        Assert.Equal(["changed", "lock"], Directory
            .GetFiles(_site.Spool, "*", SearchOption.AllDirectories).Select(Path.GetFileName).Order());
        Assert.Equal(0, (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_total{result=\"dead\"}"]);
    }

    [Fact]
    public async Task Daemon_sees_what_an_operator_of_another_user_has_changed()
    {
        _receiver.Down();
        await using var daemon = await _site.StartAsync("--delay", "0");
        Assert.True((await daemon.AskAsync("""{"prompt":"hi"}""")).IsDone);

        var (code, output, _) = await _site.RunAsync("deliveries", "retry", "--all");
        Assert.Equal((0, "1 to be sent at once\n"), (code, output));

        // The directory is for its user only; what is in this file is a random number.
        Assert.True(File.GetUnixFileMode(Path.Combine(_site.Spool, "changed")).HasFlag(UnixFileMode.OtherRead));
        Assert.Equal(UnixFileMode.None, File.GetUnixFileMode(_site.Spool) & (UnixFileMode.OtherExecute | UnixFileMode.GroupExecute));
    }

    [Fact]
    [Trait("Needs", "Tools")]
    public async Task Full_disk_is_told_and_counted_and_every_stream_has_its_end()
    {
        _receiver.Down();
        Directory.CreateDirectory(_site.Spool);
        // A disk of its own for the spool, in a mount namespace of the daemon's.
        string[] small = ["unshare", "--mount", "--map-root-user", "sh", "-c",
            $"mount -t tmpfs -o size=96k tmpfs {_site.Spool} && exec \"$@\"", "sh"];
        await using var daemon = await DaemonProcess.StartUnderAsync(small, _site.Environment, true, "--delay", "0");

        for (var i = 0; i < 40; i++)
            Assert.True((await daemon.AskAsync($$"""{"prompt":"hi","request_id":"{{i}}"}""")).IsDone);

        var metrics = await daemon.MetricValuesAsync();
        var (accepted, lost) = (metrics["streaming_daemon_deliveries_total{result=\"accepted\"}"],
            metrics["streaming_daemon_deliveries_total{result=\"lost\"}"]);
        Assert.Equal(40, accepted + lost);
        Assert.InRange(accepted, 1, 39);
        Assert.Contains("No space left", Assert.Single(daemon.LogLines("\"Name\":\"AnswerNotDelivered\"")),
            StringComparison.Ordinal);

        // What was accepted arrives, and makes room.
        _receiver.Up();
        await _receiver.AcceptedAsync((int)accepted);
        await daemon.AskAsync("""{"prompt":"hi","request_id":"after"}""");
        Assert.Contains("after", Ids(await _receiver.AcceptedAsync((int)accepted + 1)));
    }

    [Fact]
    public async Task Delivery_that_is_too_old_is_dead_and_not_sent()
    {
        _receiver.Down();
        await using (var daemon = await _site.StartAsync("--delay", "0"))
            await daemon.AskAsync("""{"prompt":"hi"}""");
        var file = Assert.Single(_site.Pending);
        var name = Path.GetFileName(file);
        var order = Convert.ToInt64(name[..16], 16) - (4L * 3600 * 1_000_000);
        File.Move(file, Path.Combine(Path.GetDirectoryName(file)!, order.ToString("x16") + name[16..]));
        _receiver.Up();

        await using var next = await _site.StartAsync(
            new Dictionary<string, string>
            {
                ["STREAMING_DAEMON_DELIVERY__MAX_AGE_H"] = "3",
                // Its time as a dead letter begins now.
                ["STREAMING_DAEMON_DELIVERY__MAX_DEAD_AGE_H"] = "2",
            }, "--delay", "0");
        await Eventually.TrueAsync(async () => (await next.MetricValuesAsync())["streaming_daemon_deliveries_dead"] == 1);

        await Eventually.TrueAsync(() => next.LogLines("\"Name\":\"DeliveryDead\"").Count == 1);
        Assert.Contains("older than 3 h", next.LogLines("\"Name\":\"DeliveryDead\"")[0], StringComparison.Ordinal);
        Assert.Single(_site.Dead);
        Assert.Empty(_receiver.All);
    }

    [Fact]
    public async Task No_more_deliveries_are_sent_at_once_than_the_limit_allows()
    {
        var goOn = new TaskCompletionSource();
        var (open, most) = (0, 0);
        _receiver.BeforeAnswer = async (_, _) =>
        {
            lock (goOn)
                most = Math.Max(most, ++open);
            await goOn.Task.WaitAsync(TestClient.Patience);
            await Task.Delay(20);
            lock (goOn)
                open--;
        };
        await using var daemon = await _site.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__CONCURRENCY"] = "3" }, "--delay", "0");
        for (var i = 0; i < 12; i++)
            await daemon.AskAsync($$"""{"prompt":"hi","user_id":{{i}}}""");
        await Eventually.TrueAsync(() => Volatile.Read(ref open) == 3);
        goOn.SetResult();

        await _receiver.AcceptedAsync(12);

        Assert.Equal(3, most);
    }

    [Fact]
    public async Task Dead_letters_over_their_bytes_are_dropped_and_the_oldest_go_first()
    {
        const int Most = 64 * 1024;
        _receiver.Status = (_, _) => 400;
        await using var daemon = await _site.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__MAX_DEAD_BYTES"] = $"{Most}" }, "--delay", "0");
        for (var i = 0; i < 120; i++)
            Assert.True((await daemon.AskAsync($$"""{"prompt":"hi","user_id":1,"request_id":"{{i}}"}""")).IsDone);
        await Eventually.TrueAsync(async () => _site.Pending.Count == 0
            && (await daemon.MetricValuesAsync())["streaming_daemon_deliveries_total{result=\"dead\"}"] == 120);

        await Eventually.TrueAsync(async () =>
        {
            var metrics = await daemon.MetricValuesAsync();
            // A file may go between the list and the look.
            var bytes = _site.Dead.Select(file => new FileInfo(file)).Sum(file => file.Exists ? file.Length : Most);
            return bytes <= Most && metrics["streaming_daemon_deliveries_dead"] == _site.Dead.Count
                && metrics["streaming_daemon_deliveries_dead_bytes"] == bytes
                && metrics["streaming_daemon_deliveries_total{result=\"dropped\"}"] == 120 - _site.Dead.Count;
        });
        var left = _site.Dead.Select(file => int.Parse(JsonDocument.Parse(File.ReadAllText(file)).RootElement
            .GetProperty("request_id").GetString()!)).Order().ToList();
        Assert.Equal(Enumerable.Range(120 - left.Count, left.Count), left);
        Assert.InRange(left.Count, 1, 119);
        Assert.NotEmpty(daemon.LogLines("\"Name\":\"DeadLettersDropped\""));
    }

    [Fact]
    public async Task Dead_letter_that_is_too_old_is_dropped_by_the_daemon_that_sends()
    {
        _receiver.Status = (_, _) => 400;
        await using (var daemon = await _site.StartAsync("--delay", "0"))
        {
            await daemon.AskAsync("""{"prompt":"hi","request_id":"old"}""");
            await daemon.AskAsync("""{"prompt":"hi","request_id":"new"}""");
            await Eventually.TrueAsync(() => _site.Dead.Count == 2 && _site.Pending.Count == 0);
        }

        var old = _site.Dead[0];
        var name = Path.GetFileName(old);
        // It is dead since then, whenever its answer ended.
        var order = Convert.ToInt64(name[..16], 16) - (300L * 3600 * 1_000_000);
        File.Move(_site.Dead[1], Path.Combine(Path.GetDirectoryName(old)!, order.ToString("x16") + Path.GetFileName(_site.Dead[1])[16..]));
        File.SetLastWriteTimeUtc(old, DateTime.UtcNow.AddHours(-3));

        await using var next = await _site.StartAsync(
            new Dictionary<string, string> { ["STREAMING_DAEMON_DELIVERY__MAX_DEAD_AGE_H"] = "2" }, "--delay", "0");

        await Eventually.TrueAsync(() => _site.Dead.Count == 1);
        Assert.Contains("\"new\"", await File.ReadAllTextAsync(_site.Dead[0]), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("URL", "ftp://127.0.0.1/", "the URL does not begin with http:// or https://")]
    [InlineData("SECRET_FILE", "", "name a file with the secret in delivery.secret_file")]
    [InlineData("SECRET_FILE", "/nonexistent", "cannot be read: No such file or directory")]
    [InlineData("SPOOL_DIR", "/etc/hostname/spool", "deliveries cannot be written there")]
    [InlineData("CA_FILE", "/etc/hostname", "holds no certificate in PEM")]
    public async Task Start_and_check_say_what_is_wrong_with_deliveries(string option, string value, string problem)
    {
        var environment = _site.With(new() { [$"STREAMING_DAEMON_DELIVERY__{option}"] = value });

        foreach (var command in (string[][])[["--socket", _site.Spool + ".sock"], ["check"]])
        {
            var (code, output, error) = await DaemonProcess.RunAsync(environment, command);
            Assert.NotEqual(0, code);
            var said = command is ["check"] && option is "SPOOL_DIR" ? "this user may not make it" : problem;
            Assert.Contains(said, output + error, StringComparison.Ordinal);
            Assert.DoesNotContain(DeliveryReceiver.Secret[6..], output + error, StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Check_says_where_deliveries_go_and_makes_no_directory()
    {
        var (code, output, _) = await _site.RunAsync("check");

        Assert.Matches(Row(), output);
        Assert.Contains(_receiver.Url.GetLeftPart(UriPartial.Authority), output, StringComparison.Ordinal);
        Assert.Equal(0, code);
        Assert.False(Directory.Exists(_site.Spool));
    }

    [GeneratedRegex("(?m)^ok +deliveries +to http://")]
    private static partial Regex Row();

    private static List<JsonElement> Json((int ExitCode, string Output, string Error) run) =>
        [.. JsonDocument.Parse(run.Output).RootElement.EnumerateArray()];

    private static IEnumerable<string> Ids(IEnumerable<ReceivedDelivery> deliveries) =>
        deliveries.Select(delivery => delivery.Body.GetProperty("request_id").GetString()!);
}
