using System.Net.Sockets;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Interop;
using Xunit;

namespace StreamingDaemon.Uring.Tests;

/// <summary>Control messages that the kernel adds because an option was set.</summary>
public sealed class AncillaryDataTests
{
    private const int Handoffs = 50;

    public static TheoryData<int, bool> Options
    {
        get
        {
            var options = new TheoryData<int, bool>();
            foreach (var option in (int[])[SocketConstants.SoPassCred, SocketConstants.SoPassPidFd,
                SocketConstants.SoPassSec, SocketConstants.SoTimestamp, SocketConstants.SoTimestampNs])
            {
                options.Add(option, false);
                options.Add(option, true);
            }

            // Turned off later, the peer's send itself is refused.
            options.Add(SocketConstants.SoPassRights, false);

            return options;
        }
    }

    [Theory, MemberData(nameof(Options))]
    public async Task Option_of_a_passed_listener_costs_no_client_and_no_descriptor(int option, bool later)
    {
        using var directory = new TempDirectory();
        var path = directory.File("passed");
        using var listener = Listen(path);
        if (!later)
            TurnOn(listener, option);
        var passed = Posix.Duplicate((int)listener.Handle);
        await using var server = await RunningServer.StartAsync(
            client =>
            {
                client.Complete();
                return Task.CompletedTask;
            },
            options => options with { PassedSocket = passed });
        if (later)
            TurnOn(listener, option);
        var before = OpenDescriptorsOfAnyKind();

        for (var i = 0; i < Handoffs; i++)
        {
            using var client = TestClient.HandOver(path, "{}");
            Assert.Empty(await TestClient.ReadToEndAsync(client));
        }

        Assert.Equal(Handoffs, server.Server.Statistics.Started);
        Assert.Empty(server.Rejections);
        await Eventually.TrueAsync(() => OpenDescriptorsOfAnyKind() < before + Handoffs);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Passed_listener_that_is_shut_down_is_reported_and_running_streams_go_on(bool later)
    {
        using var directory = new TempDirectory();
        var path = directory.File("passed");
        using var listener = Listen(path);
        if (!later)
            listener.Shutdown(SocketShutdown.Receive);
        var passed = Posix.Duplicate((int)listener.Handle);
        var end = new TaskCompletionSource();
        await using var server = await RunningServer.StartAsync(
            async client =>
            {
                await end.Task;
                client.Complete();
            },
            options => options with { PassedSocket = passed });
        using var client = later ? TestClient.HandOver(path, "{}") : null;
        await Eventually.TrueAsync(() => client is null || server.Server.Statistics.Started == 1);
        if (later)
            listener.Shutdown(SocketShutdown.Receive);

        await server.Server.ListenerLost.WaitAsync(TestClient.Patience);

        Assert.False(server.Server.Completion.IsCompleted);
        end.SetResult();
        if (client is not null)
            Assert.Empty(await TestClient.ReadToEndAsync(client));
    }

    private static Socket Listen(string path)
    {
        var listener = new Socket(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(100);
        return listener;
    }

    private static int OpenDescriptorsOfAnyKind() => Directory.GetFileSystemEntries("/proc/self/fd").Length;

    private static void TurnOn(Socket listener, int option)
    {
        try
        {
            // This one is on by default, and its lack does the harm.
            var value = option == SocketConstants.SoPassRights ? 0 : 1;
            listener.SetRawSocketOption(SocketConstants.SolSocket, option, BitConverter.GetBytes(value));
        }
        catch (SocketException) when (option is SocketConstants.SoPassPidFd or SocketConstants.SoPassRights
            && Environment.OSVersion.Version < new Version(6, 16))
        {
            // A kernel that does not have it cannot be asked for it.
        }
    }
}
