using System.Net.Sockets;
using System.Threading.Channels;
using BenchmarkDotNet.Attributes;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Micro;

/// <summary>From a producer's flush to the kernel: the Channel alone, and the whole path.</summary>
public class ChannelToLoop : IHandoffHandler
{
    private const int Events = 1_000;
    private const int EventBytes = 60;

    private readonly Channel<ClientStream> _channel =
        Channel.CreateUnbounded<ClientStream>(new UnboundedChannelOptions { SingleReader = true });
    private readonly TaskCompletionSource<ClientStream> _client = new();
    private readonly TaskCompletionSource _end = new();
    private TempDirectory _directory = null!;
    private HandoffServer _server = null!;
    private Socket _browser = null!;
    private Thread _reader = null!;
    private ClientStream _stream = null!;

    [GlobalSetup]
    public async Task SetUp()
    {
        _directory = new TempDirectory();
        _server = new HandoffServer(new HandoffServerOptions { SocketPath = _directory.File("s") }, this);
        await _server.StartAsync();
        _browser = TestClient.HandOver(_directory.File("s"), "{}");
        _stream = await _client.Task;
        _reader = new Thread(Read) { IsBackground = true };
        _reader.Start();
    }

    [GlobalCleanup]
    public async Task CleanUp()
    {
        _end.SetResult();
        _server.Stop();
        await _server.Completion;
        _reader.Join();
        _browser.Dispose();
        _directory.Dispose();
    }

    /// <summary>One write to the Channel and one read from it, on one thread.</summary>
    [Benchmark(OperationsPerInvoke = Events)]
    public int ChannelAlone()
    {
        var taken = 0;
        for (var i = 0; i < Events; i++)
            _channel.Writer.TryWrite(_stream);
        while (_channel.Reader.TryRead(out _))
            taken++;
        return taken;
    }

    /// <summary>An event of one busy client, until the kernel has taken it. Events that gather leave
    /// together.</summary>
    [Benchmark(OperationsPerInvoke = Events)]
    public async Task<long> EventToKernel()
    {
        var until = _server.Statistics.BytesSent + Events * EventBytes;
        for (var i = 0; i < Events; i++)
        {
            _stream.GetSpan(EventBytes)[..EventBytes].Fill((byte)'x');
            _stream.Advance(EventBytes);
            await _stream.FlushAsync();
        }

        var spin = new SpinWait();
        while (_server.Statistics.BytesSent < until)
            spin.SpinOnce();
        return until;
    }

    Task IHandoffHandler.HandleAsync(ClientStream client)
    {
        _client.SetResult(client);
        return _end.Task;
    }

    void IHandoffHandler.OnFault(ClientStream client, Exception exception) =>
        Console.Error.WriteLine(exception);

    void IHandoffHandler.OnRejected(HandoffRejection reason, HandoffPeer peer) =>
        Console.Error.WriteLine(reason);

    private void Read()
    {
        var buffer = new byte[256 * 1024];
        try
        {
            while (_browser.Receive(buffer) > 0)
            {
            }
        }
        catch (SocketException)
        {
            // The server was stopped.
        }
    }
}
