using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>A TCP client that sees every byte.</summary>
internal sealed class RawClient : IDisposable
{
    private readonly Socket _socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly StringBuilder _received = new();
    private readonly byte[] _buffer = new byte[65536];

    public RawClient(int port, int receiveBuffer = 65536)
    {
        _socket.ReceiveBufferSize = receiveBuffer;
        _socket.Connect(IPAddress.Loopback, port);
    }

    public string Received => _received.ToString();

    public bool Ended { get; private set; }

    public int LocalPort => ((IPEndPoint)_socket.LocalEndPoint!).Port;

    public static string Get(string path, string host = "localhost") =>
        $"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n";

    public void Send(string text) => Send(Encoding.ASCII.GetBytes(text));

    public void Send(byte[] bytes)
    {
        int sent = 0;
        while (sent < bytes.Length)
            sent += _socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
    }

    public string ReadUntil(string text)
    {
        Read(() => _received.ToString().Contains(text, StringComparison.Ordinal));
        Assert.Contains(text, Received, StringComparison.Ordinal);
        return Received;
    }

    /// <summary>Reads to the orderly end; a reset is an error.</summary>
    public string ReadToEnd()
    {
        Read(() => false);
        Assert.True(Ended, $"No end after {Wait.Limit}:\n{Received}");
        return Received;
    }

    public void Dispose() => _socket.Dispose();

    private void Read(Func<bool> enough)
    {
        var watch = Stopwatch.StartNew();
        while (!Ended && !enough() && watch.Elapsed < Wait.Limit)
        {
            if (!_socket.Poll(TimeSpan.FromMilliseconds(100), SelectMode.SelectRead))
                continue;
            int count = _socket.Receive(_buffer);
            _received.Append(Encoding.UTF8.GetString(_buffer, 0, count));
            Ended = count == 0;
        }
    }
}
