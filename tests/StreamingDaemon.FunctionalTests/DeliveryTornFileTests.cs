using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Files of deliveries that a machine lost half of when it died: they are named and not sent, and the whole
/// ones beside them arrive.</summary>
public sealed class DeliveryTornFileTests : IDisposable
{
    private readonly DeliveryReceiver _receiver = new();
    private readonly DeliverySite _site;
    private int _files;

    public DeliveryTornFileTests()
    {
        _site = new DeliverySite(_receiver.Url);
        Directory.CreateDirectory(Path.Combine(_site.Spool, "pending"));
    }

    public void Dispose()
    {
        _receiver.Dispose();
        _site.Dispose();
    }

    [Fact]
    public async Task File_that_is_cut_at_any_byte_is_dead_and_the_whole_ones_of_its_user_arrive()
    {
        var whole = WholeOf(1);
        for (var length = 0; length < whole.Length; length++)
            Write(user: length % 4, whole[..length]);
        byte[][] spoiled =
        [
            [.. new byte[whole.Length]], [.. whole[..40], .. new byte[whole.Length - 40]], [.. whole, 0],
            [.. whole, .. whole], [.. "garbage"u8], [.. "[]"u8], [.. "}"u8], [.. "\"\""u8],
        ];
        foreach (var bytes in spoiled)
            Write(user: 1, bytes);
        var dead = _files;
        for (var user = 0; user < 8; user++)
            Write(user, WholeOf(_files + 1));

        await using var daemon = await _site.StartAsync("--delay", "0");

        await _receiver.AcceptedAsync(8);
        await Eventually.TrueAsync(() => _site.Pending.Count == 0 && _site.Dead.Count == dead);
        Assert.Equal(8, _receiver.All.Count);
        Assert.All(_receiver.All, one => Assert.Equal("answer.ended", one.Body.GetProperty("type").GetString()));
        var (_, list, _) = await _site.RunAsync("deliveries", "list");
        Assert.Equal(dead, list.Split('\n').Count(line => line.EndsWith("its file is not whole", StringComparison.Ordinal)));
        Assert.Contains("its file is not whole", daemon.LogLines("\"Name\":\"DeliveryDead\"")[0], StringComparison.Ordinal);
        Assert.True((await daemon.AskAsync("""{"prompt":"hi","user_id":1}""")).IsDone);
        await _receiver.AcceptedAsync(9);
    }

    private static byte[] WholeOf(int number) => Encoding.UTF8.GetBytes(
        $$$"""{"type":"answer.ended","id":"msg_{{{number:x32}}}","content":"a \"b\" {[ \\","timings":{"events":[1]},"x":{}}""");

    private void Write(int user, byte[] content)
    {
        var order = (DateTimeOffset.UtcNow.ToUnixTimeMilliseconds() * 1000) + _files++;
        File.WriteAllBytes(Path.Combine(_site.Spool, "pending", $"{order:x16}-{user + 1:x16}-msg_{_files:x32}.json"), content);
    }
}
