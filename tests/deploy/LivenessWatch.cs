using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>Asks /health/live again and again, from a thread that nothing else of the tests delays.</summary>
internal sealed class LivenessWatch : IDisposable
{
    private readonly Thread _thread;
    private readonly int _port;
    private volatile bool _stops;

    public LivenessWatch(DaemonProcess daemon)
    {
        _port = daemon.MetricsPort;
        _thread = new Thread(Watch);
        _thread.Start();
    }

    /// <summary>Answers that were not a 200 within a second.</summary>
    public List<string> Failures { get; } = [];

    public void Dispose()
    {
        _stops = true;
        _thread.Join();
    }

    private void Watch()
    {
        while (!_stops)
        {
            var start = Stopwatch.GetTimestamp();
            var answer = Ask();
            var took = Stopwatch.GetElapsedTime(start);
            if (!answer.StartsWith("HTTP/1.1 200 ", StringComparison.Ordinal))
            {
                Failures.Add(string.Create(
                    CultureInfo.InvariantCulture, $"after {took.TotalMilliseconds:f0} ms: {answer}"));
            }

            Thread.Sleep(50);
        }
    }

    private string Ask()
    {
        try
        {
            using var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
            socket.ReceiveTimeout = 1_000;
            socket.Connect("127.0.0.1", _port);
            socket.Send("GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"u8);
            var buffer = new byte[1024];
            return Encoding.ASCII.GetString(buffer, 0, socket.Receive(buffer));
        }
        catch (SocketException e)
        {
            return e.Message;
        }
    }
}
