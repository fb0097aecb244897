using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Handoff;

/// <summary>Handoff data in a second descriptor, a sealed memfd.</summary>
public sealed class DataDescriptorTests : IDisposable
{
    private const int Limit = 6 * 1024 * 1024;

    private readonly TempDirectory _directory = new();

    public static TheoryData<int, int> SizesAndTypes
    {
        get
        {
            var data = new TheoryData<int, int>();
            foreach (var size in (int[])[1, 4095, 4096, 212_960, 212_961, 5 * 1024 * 1024, Limit - 1, Limit])
            {
                data.Add(size, Posix.SockSeqPacket);
                data.Add(size, Posix.SockStream);
            }

            return data;
        }
    }

    public static TheoryData<string> HostileKinds => [.. s_hostile.Keys];

    private static readonly Dictionary<string, string> s_hostile = new()
    {
        ["fifo"] = "no memfd sealed",
        ["directory"] = "no memfd sealed",
        ["socket"] = "no memfd sealed",
        ["regular file"] = "no memfd sealed",
        ["sparse file of 1 TB"] = "no memfd sealed",
        ["memfd without seals"] = "no memfd sealed",
        ["memfd that may be written"] = "no memfd sealed",
        ["memfd that may shrink"] = "no memfd sealed",
        ["path only"] = "no memfd sealed",
        ["memfd to write only"] = "another length",
        ["shorter than named"] = "another length",
        ["longer than named"] = "another length",
        ["none"] = "none came with it",
        ["two"] = "more than one data descriptor",
        ["other version"] = "not that of a version",
        ["no length"] = "not that of a version",
        ["negative length"] = "not that of a version",
        ["text behind the line"] = "not that of a version",
    };

    public void Dispose() => _directory.Dispose();

    [Theory, MemberData(nameof(SizesAndTypes))]
    public async Task Data_in_sealed_memory_arrives_whole(int size, int type)
    {
        await using var server = await StartAsync(type);
        await ServesAsync(server, type);
        server.Server.TrimMemory();
        var atRest = server.Server.Memory.Held;
        var data = Bytes(size);
        var memory = Posix.MemoryFile(data);

        using var client = HandOver(server, $"handoff-data/1 {size}\n", type, memory);

        Assert.Equal(data, await TestClient.ReadToEndAsync(client));
        Assert.Equal(0, Posix.Close(memory));
        // Free blocks count until they are trimmed.
        await Eventually.TrueAsync(() =>
        {
            server.Server.TrimMemory();
            return server.Server.Memory.Held == atRest;
        });
    }

    [Theory]
    [InlineData(212_960)]
    [InlineData(212_961)]
    [InlineData(5_000_000)]
    public async Task Client_of_the_library_sends_any_length_the_same_way(int size)
    {
        await using var server = await StartAsync(Posix.SockSeqPacket);
        var data = Bytes(size);

        using var client = HandoffClient.Open(server.SocketPath, data);

        Assert.Equal(data, await TestClient.ReadToEndAsync(client));
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Peer_is_told_that_its_handoff_is_known(int type)
    {
        await using var server = await StartAsync(type);
        var memory = Posix.MemoryFile("{}"u8);
        using var connection = Posix.ToSocket(Posix.ConnectUnix(server.SocketPath, type));
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);

        Posix.SendDescriptors((int)connection.Handle, "handoff-data/1 2\n"u8, theirs, memory);
        connection.Shutdown(SocketShutdown.Send);

        Assert.Equal("handoff-data/1\n", await TestClient.ReadTextAsync(connection));
        Posix.Close(theirs);
        Assert.Equal("{}", await TestClient.ReadTextAsync(client));
        Posix.Close(memory);
    }

    [Theory]
    [InlineData(Limit + 1L)]
    [InlineData(1L << 40)]
    [InlineData(long.MaxValue)]
    public async Task Data_above_the_limit_is_refused_unread(long named)
    {
        await using var server = await StartAsync(Posix.SockSeqPacket);
        var memory = Posix.MemoryFile("{}"u8);

        using var client = HandOver(server, $"handoff-data/1 {named}\n", Posix.SockSeqPacket, memory);

        Assert.Equal("TooLarge", await TestClient.ReadTextAsync(client));
        Posix.Close(memory);
    }

    [Fact]
    public async Task Data_counts_in_the_memory_budget_before_it_is_read()
    {
        await using var server = await StartAsync(Posix.SockSeqPacket,
            options => options with { Memory = new MemoryBudget(MemoryBudget.PerHandoffByte * 1_000_000, 0) });
        foreach (var (size, answer) in new[] { (1_000_001, "OverMemory"), (500_000, null) })
        {
            var data = Bytes(size);
            var memory = Posix.MemoryFile(data);
            using var client = HandOver(server, $"handoff-data/1 {size}\n", Posix.SockSeqPacket, memory);
            Assert.Equal(answer ?? Encoding.ASCII.GetString(data), await TestClient.ReadTextAsync(client));
            Posix.Close(memory);
        }
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Long_handoffs_that_come_together_take_turns_and_are_all_served(int type)
    {
        await using var server = await StartAsync(type);
        var data = Bytes(300_000);
        var memory = Posix.MemoryFile(data);

        var clients = Enumerable.Range(0, 100)
            .Select(_ => HandOver(server, "handoff-data/1 300000\n", type, memory)).ToList();

        foreach (var client in clients)
        {
            Assert.Equal(data, await TestClient.ReadToEndAsync(client));
            client.Dispose();
        }

        Posix.Close(memory);
    }

    [Theory, MemberData(nameof(HostileKinds))]
    public async Task Descriptor_that_is_no_such_memory_harms_its_own_handoff_only(string kind)
    {
        foreach (var type in (int[])[Posix.SockSeqPacket, Posix.SockStream])
        {
            await using var server = await StartAsync(type);
            await ServesAsync(server, type);
            var before = AllDescriptors();
            var (line, descriptors) = Make(kind);

            using (var client = HandOver(server, line, type, descriptors))
                Assert.Contains(s_hostile[kind], await TestClient.ReadTextAsync(client), StringComparison.Ordinal);

            foreach (var fd in descriptors)
                Posix.Close(fd);
            await ServesAsync(server, type);
            await Eventually.TrueAsync(() => AllDescriptors() <= before);
        }
    }

    /// <summary>As before there was such a thing: a second descriptor has no meaning by itself.</summary>
    [Fact]
    public async Task Sealed_memory_beside_a_json_message_is_closed_unread()
    {
        await using var server = await StartAsync(Posix.SockSeqPacket);
        await ServesAsync(server, Posix.SockSeqPacket);
        var before = AllDescriptors();
        var memory = Posix.MemoryFile("""{"prompt":"not this"}"""u8);

        using (var client = HandOver(server, "{}", Posix.SockSeqPacket, memory))
            Assert.Equal("{}", await TestClient.ReadTextAsync(client));

        Posix.Close(memory);
        await Eventually.TrueAsync(() => AllDescriptors() <= before);
    }

    [Theory]
    [InlineData(Posix.SockSeqPacket)]
    [InlineData(Posix.SockStream)]
    public async Task Data_for_which_the_table_has_no_room_waits_with_its_client(int type)
    {
        await using var server = await StartAsync(type);
        await ServesAsync(server, type);
        var data = Bytes(300_000);
        var memory = Posix.MemoryFile(data);
        var (browser, theirs) = Posix.SocketPair();
        using var client = Posix.ToSocket(browser);
        using var connection = Posix.ToSocket(Posix.NewSocket(Posix.AfUnix, type));
        using (var table = Posix.BoundDescriptorTable(spare: 40))
        {
            await table.FillAsync();
            // For the connection, and for one descriptor of two.
            table.Release(2);
            Posix.ConnectUnix((int)connection.Handle, server.SocketPath);
            Posix.SendDescriptors((int)connection.Handle, "handoff-data/1 300000\n"u8, theirs, memory);
            connection.Shutdown(SocketShutdown.Send);
            await Eventually.TrueAsync(() => !client.Poll(TimeSpan.FromMilliseconds(300), SelectMode.SelectRead));
        }

        Posix.Close(theirs);
        Posix.Close(memory);
        Assert.Equal(data, await TestClient.ReadToEndAsync(client));
        Assert.Empty(server.Rejections);
    }

    private (string Line, int[] Descriptors) Make(string kind)
    {
        const string TwoBytes = "handoff-data/1 2\n";
        var content = "{}"u8;
        switch (kind)
        {
            case "fifo":
                Assert.Equal(0, Posix.MakeFifo(_directory.File("fifo")));
                var fifo = Posix.Open(_directory.File("fifo"), Posix.OpenNonBlock);
                File.Delete(_directory.File("fifo"));
                return (TwoBytes, [fifo]);
            case "directory":
                return (TwoBytes, [Posix.Open(_directory.Path, 0)]);
            case "socket":
                return (TwoBytes, [Posix.NewSocket(Posix.AfUnix, Posix.SockDgram)]);
            case "regular file":
                File.WriteAllBytes(_directory.File("file"), content.ToArray());
                return (TwoBytes, [Posix.Open(_directory.File("file"), 0)]);
            case "sparse file of 1 TB":
                using (var sparse = File.Create(_directory.File("sparse")))
                    sparse.SetLength(1L << 40);
                return (TwoBytes, [Posix.Open(_directory.File("sparse"), 0)]);
            case "memfd without seals":
                return (TwoBytes, [Posix.MemoryFile(content, seals: 0)]);
            case "memfd that may be written":
                return (TwoBytes, [Posix.MemoryFile(content, Posix.AllSeals & ~Posix.SealWrite)]);
            case "memfd that may shrink":
                return (TwoBytes, [Posix.MemoryFile(content, Posix.AllSeals & ~Posix.SealShrink)]);
            case "path only":
                return (TwoBytes, [Posix.Open(_directory.Path, Posix.OpenPathOnly)]);
            case "memfd to write only":
                var sealable = Posix.MemoryFile(content, seals: 0);
                var writable = Posix.Open($"/proc/self/fd/{sealable}", Posix.OpenWriteOnly);
                Posix.Close(sealable);
                Posix.AddSealsTo(writable, Posix.AllSeals);
                return (TwoBytes, [writable]);
            case "shorter than named":
                return ("handoff-data/1 3\n", [Posix.MemoryFile(content)]);
            case "longer than named":
                return ("handoff-data/1 1\n", [Posix.MemoryFile(content)]);
            case "none":
                return (TwoBytes, []);
            case "two":
                return (TwoBytes, [Posix.MemoryFile(content), Posix.MemoryFile(content)]);
            case "other version":
                return ("handoff-data/2 2\n", [Posix.MemoryFile(content)]);
            case "no length":
                return ("handoff-data/1 \n", [Posix.MemoryFile(content)]);
            case "negative length":
                return ("handoff-data/1 -2\n", [Posix.MemoryFile(content)]);
            case "text behind the line":
                return (TwoBytes + "{}", [Posix.MemoryFile(content)]);
            default:
                throw new ArgumentOutOfRangeException(nameof(kind));
        }
    }

    private static Task<RunningServer> StartAsync(
        int type, Func<HandoffServerOptions, HandoffServerOptions>? with = null) =>
        RunningServer.StartAsync(
            async client =>
            {
                if (client.DataProblem is { } problem)
                    await client.WriteAndFlushAsync(Encoding.ASCII.GetBytes(problem));
                else if (client.Admission != HandoffAdmission.Admitted)
                    await client.WriteAndFlushAsync(Encoding.ASCII.GetBytes($"{client.Admission}"));
                else
                    await client.WriteAndFlushAsync(client.HandoffData.ToArray());
                client.Complete();
            },
            options => (with?.Invoke(options) ?? options) with
            {
                MaxHandoffBytes = Limit,
                UseStreamSocket = type == Posix.SockStream,
                MaxPendingBytes = 2 * Limit,
            });

    /// <summary>An ordinary handoff is served.</summary>
    private static async Task ServesAsync(RunningServer server, int type)
    {
        using var client = TestClient.HandOver(server.SocketPath, "{}", type);
        Assert.Equal("{}", await TestClient.ReadTextAsync(client));
    }

    private static Socket HandOver(RunningServer server, string line, int type, params int[] descriptors)
    {
        var connection = Posix.ConnectUnix(server.SocketPath, type);
        var (browser, theirs) = Posix.SocketPair();
        Posix.SendDescriptors(connection, Encoding.ASCII.GetBytes(line), [theirs, .. descriptors]);
        Posix.Close(connection);
        Posix.Close(theirs);
        return Posix.ToSocket(browser);
    }

    private static byte[] Bytes(int count)
    {
        var bytes = new byte[count];
        for (var i = 0; i < count; i++)
            bytes[i] = (byte)('!' + (i % 93));
        return bytes;
    }

    private static int AllDescriptors() => Directory.GetFileSystemEntries("/proc/self/fd").Length;
}
