using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>A TCP client that sees every byte.</summary>
internal sealed class RawClient : IDisposable
{
    private readonly Socket socket = new(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp);
    private readonly StringBuilder received = new();
    private readonly byte[] buffer = new byte[65536];

    public RawClient(int port, int receiveBuffer = 65536)
    {
        socket.ReceiveBufferSize = receiveBuffer;
        socket.Connect(IPAddress.Loopback, port);
    }

    public string Received => received.ToString();

    public bool Ended { get; private set; }

    public int LocalPort => ((IPEndPoint)socket.LocalEndPoint!).Port;

    public static string Get(string path, string host = "localhost") =>
        $"GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n";

    public void Send(string text) => Send(Encoding.ASCII.GetBytes(text));

    public void Send(byte[] bytes)
    {
        int sent = 0;
        while (sent < bytes.Length)
            sent += socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
    }

    public string ReadUntil(string text)
    {
        Read(() => received.ToString().Contains(text, StringComparison.Ordinal));
        Assert.Contains(text, Received, StringComparison.Ordinal);
        return Received;
    }

    /// <summary>To the orderly end; a reset is an error.</summary>
    public string ReadToEnd()
    {
        Read(() => false);
        Assert.True(Ended, $"No end after {Wait.Limit}:\n{Received}");
        return Received;
    }

    public void Dispose() => socket.Dispose();

    private void Read(Func<bool> enough)
    {
        var watch = Stopwatch.StartNew();
        while (!Ended && !enough() && watch.Elapsed < Wait.Limit)
        {
            if (!socket.Poll(TimeSpan.FromMilliseconds(100), SelectMode.SelectRead))
                continue;
            int count = socket.Receive(buffer);
            received.Append(Encoding.UTF8.GetString(buffer, 0, count));
            Ended = count == 0;
        }
    }
}
