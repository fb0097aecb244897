using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text;
using System.Threading.Channels;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Ring;
using Xunit;

namespace StreamingDaemon.Uring.Tests.Loop;

/// <summary>
/// Random interleavings of handoff, token, keep-alive, leave, timeout, drain and stop against the design's
/// invariants. A failure names its seed: set MODEL_SEED to it to run it alone.
/// </summary>
public sealed class LifeModelTests
{
    private const string Comment = ": keep-alive\n\n";
    private const int Runs = 20;

    private enum Order
    {
        Write,
        WriteMuch,
        WriteAndCancel,
        Complete,
        Abort,
        Throw,
    }

    [Trait("Takes", "Long")]
    [Fact]
    public async Task Every_interleaving_keeps_the_invariants()
    {
        var asked = Environment.GetEnvironmentVariable("MODEL_SEED");
        var seeds = asked is null ? Enumerable.Range(1, Runs) : [int.Parse(asked, null)];
        foreach (var seed in seeds)
        {
            try
            {
                await new Life(seed).RunAsync().WaitAsync(TimeSpan.FromSeconds(60));
            }
            catch (Exception e)
            {
                throw new InvalidOperationException($"MODEL_SEED={seed}: {e.Message}", e);
            }
        }
    }

    /// <summary>One stream: what its producer is told, what it wrote, and what its client has read.</summary>
    private sealed class Stream
    {
        public Channel<Order> Orders { get; } = Channel.CreateUnbounded<Order>();

        /// <summary>What was flushed. With the last one cancelled, a beginning of it may have been sent.</summary>
        public StringBuilder Written { get; } = new();

        public StringBuilder Read { get; } = new();

        public Socket? Client { get; set; }

        public bool ReadToEnd { get; set; }

        public ClientEnd? End { get; set; }
    }

    private static string Short(string text) =>
        (text.Length > 60 ? text[..60] + "…" : text).Replace("\n", "\\n", StringComparison.Ordinal);

    private sealed class Life(int seed)
    {
        private readonly Random _random = new(seed);
        private readonly ConcurrentDictionary<int, Stream> _streams = new();
        private readonly List<int> _silent = [];
        private readonly byte[] _buffer = new byte[10_000];
        private int _handled;
        private int _ended;

        public async Task RunAsync()
        {
            var before = OpenDescriptors.SocketsAndRings();
            var made = 0;
            // One for each ring, and so for each thread.
            using var witnesses = new ThreadLocal<KernelWitness>(
                () => new KernelWitness(new Random(seed + Interlocked.Increment(ref made)), faulty: seed % 2 == 0),
                trackAllValues: true);
            await using (var server = await RunningServer.StartAsync(ProduceAsync, options => options with
            {
                Budget = new(10_000, 100, _random.Next(1, 8), _random.Next(1, 4), _random.Next(2, 8), 10_000),
                RingEntries = 1 << _random.Next(1, 6),
                MaxPendingBytes = _random.Next(2_000, 20_000),
                HandoffTimeoutMs = 80,
                WriteTimeoutMs = _random.Next(50, 300),
                LingerTimeoutMs = _random.Next(0, 50),
                KeepAlive = Encoding.UTF8.GetBytes(Comment),
                KeepAliveIntervalMs = _random.Next(0, 10),
                KeepHalfClosed = _random.Next(2) == 0,
                Rings = _random.Next(1, 4),
                AlwaysUsesWorkers = _random.Next(3) == 0,
                RingFault = (in EnterCall call) => witnesses.Value!.Enter(call),
                // The kernel here may have no TLS: the witness answers in its place.
                TlsAnswer = fd => fd % 3 == 0,
                CallFault = (in ClientCall call) => witnesses.Value!.Call(call),
                Releasing = fd => witnesses.Value!.OnReleasing(fd),
            }))
            {
                for (var i = 0; i < 400; i++)
                {
                    // A failed invariant ends the server.
                    if (server.Server.Completion.IsCompleted)
                        break;
                    await StepAsync(server.SocketPath, i);
                }

                await EndAsync(server);
                Check(server, witnesses.Values.Sum(w => w.Sends));
                // Neither a task nor a buffer is left, the loop's own included.
                Assert.True(await server.Server.HandlersEndedAsync(TestClient.Patience));
                // A call that hung in the last moment keeps its loop's buffers.
                if (!server.Server.HasLeftBehind)
                    Assert.Equal(0, server.Server.RentedBuffers);
            }

            await Eventually.TrueAsync(() => OpenDescriptors.SocketsAndRings() <= before);
        }

        private async Task StepAsync(string socketPath, int step)
        {
            switch (_random.Next(20))
            {
                case 0 or 1 or 2:
                    var id = step;
                    _streams[id] = new Stream();
                    _streams[id].Client = _random.Next(2) == 0
                        ? TestClient.HandOver(socketPath, $"{id}")
                        : TestClient.HandOverTcp(socketPath, $"{id}");
                    _streams[id].Client!.Blocking = false;
                    break;
                case 3:
                    _silent.Add(Posix.ConnectUnix(socketPath, Posix.SockSeqPacket));
                    break;
                case 4 when _silent.Count > 0:
                    var fd = _silent[_random.Next(_silent.Count)];
                    _silent.Remove(fd);
                    Posix.Close(fd);
                    break;
                case 5:
                    TestClient.HandOverDescriptor(socketPath, "{}"u8, 0);
                    break;
                case 6 when Any() is { } leaving:
                    if (_random.Next(2) == 0)
                        leaving.Client!.LingerState = new LingerOption(true, 0);
                    leaving.Client!.Dispose();
                    leaving.Client = null;
                    break;
                case 7 when Any() is { } closing:
                    TryShutdown(closing.Client!);
                    break;
                case 8:
                    await Task.Delay(_random.Next(20));
                    break;
                case 9 or 10 or 11 or 12 when Any() is { } reading:
                    ReadSome(reading);
                    break;
                default:
                    if (Any() is { } stream)
                    {
                        stream.Orders.Writer.TryWrite((Order)Math.Min(_random.Next(14), _random.Next(14)) switch
                        {
                            < Order.Throw + 1 and var order => order,
                            _ => Order.Write,
                        });
                    }

                    break;
            }
        }

        private Stream? Any()
        {
            var open = _streams.Values.Where(s => s.Client is not null).ToList();
            return open.Count == 0 ? null : open[_random.Next(open.Count)];
        }

        private async Task ProduceAsync(ClientStream client)
        {
            Interlocked.Increment(ref _handled);
            var stream = _streams[int.Parse(Encoding.UTF8.GetString(client.HandoffData), null)];
            _ = client.Ended.AsTask().ContinueWith(
                ended =>
                {
                    stream.End = ended.Result;
                    Interlocked.Increment(ref _ended);
                }, TaskScheduler.Default);
            if (client.AcceptedTimestamp % 2 == 0)
                client.BeginKeepAlive();
            for (var i = 0; ; i++)
            {
                var order = await stream.Orders.Reader.ReadAsync(client.Cancelled);
                switch (order)
                {
                    case Order.Complete:
                        client.Complete();
                        return;
                    case Order.Abort:
                        client.Abort();
                        return;
                    case Order.Throw:
                        throw new InvalidOperationException("as told");
                    default:
                        var size = order == Order.Write ? 30 : 40_000;
                        var text = $"data: {i} {new string('x', size)}\n\n";
                        Encoding.UTF8.GetBytes(text, client);
                        stream.Written.Append(text);
                        using (var cancellation = new CancellationTokenSource(order == Order.WriteAndCancel ? 2 : -1))
                        {
                            if (!await client.FlushAsync(cancellation.Token))
                                return;
                        }

                        break;
                }
            }
        }

        private void ReadSome(Stream stream)
        {
            try
            {
                var read = stream.Client!.Receive(_buffer, _random.Next(1, _buffer.Length), SocketFlags.None);
                stream.ReadToEnd |= read == 0;
                stream.Read.Append(Encoding.UTF8.GetString(_buffer, 0, read));
            }
            catch (SocketException)
            {
                // Nothing there, or dropped.
            }
        }

        private static void TryShutdown(Socket socket)
        {
            try
            {
                socket.Shutdown(SocketShutdown.Send);
            }
            catch (SocketException)
            {
                // It was dropped already.
            }
        }

        private async Task EndAsync(RunningServer server)
        {
            if (_random.Next(3) == 0)
                server.Server.Stop();
            else
                server.Server.BeginDrain();
            foreach (var stream in _streams.Values)
                stream.Orders.Writer.TryWrite(Order.Complete);
            while (!server.Server.Completion.IsCompleted)
            {
                foreach (var stream in _streams.Values.Where(s => s.Client is not null && !s.ReadToEnd))
                    ReadSome(stream);
                await Task.Yield();
            }

            await server.Server.Completion;
            _silent.ForEach(fd => Posix.Close(fd));
            await Eventually.TrueAsync(() => Volatile.Read(ref _ended) == Volatile.Read(ref _handled)
                && _handled == server.Server.Statistics.Started);
            foreach (var stream in _streams.Values.Where(s => s.Client is not null))
            {
                for (var left = stream.Read.Length - 1; left != stream.Read.Length;)
                {
                    left = stream.Read.Length;
                    ReadSome(stream);
                }

                stream.Client!.Dispose();
            }
        }

        private void Check(RunningServer server, int sends)
        {
            var statistics = server.Server.Statistics;
            Assert.Equal(statistics.Accepted, statistics.Started + statistics.Rejected);
            Assert.Equal(0, statistics.ActiveConnections);
            Assert.True(statistics.Sends >= sends);
            Assert.All(server.Faults, e => Assert.True(
                e is OperationCanceledException or InvalidOperationException { Message: "as told" }, e.ToString()));
            foreach (var stream in _streams.Values)
            {
                var read = stream.Read.ToString();
                var events = read.Replace(Comment, "", StringComparison.Ordinal);
                var written = stream.Written.ToString();
                // All but a comment that was cut by the client's own end.
                var common = written.AsSpan().CommonPrefixLength(events);
                Assert.True(common == events.Length || Comment.StartsWith(events[common..], StringComparison.Ordinal),
                    $"'{Short(events[common..])}' after {common} characters, in the place of '"
                    + $"{Short(written[common..])}', {stream.End}");
                if (stream is { End: ClientEnd.Completed, ReadToEnd: true })
                    Assert.Equal(written, events);
            }
        }
    }
}
