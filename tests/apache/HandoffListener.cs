using System.Net.Sockets;
using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace StreamingDaemon.ApacheTests;

/// <summary>A daemon that the test controls: it accepts when told to, and shows the exact bytes.</summary>
internal sealed unsafe partial class HandoffListener : IDisposable
{
    private const int GetSeals = 1034;

    private readonly Socket _listener;
    private readonly string _path;

    public HandoffListener(string path, SocketType type = SocketType.Seqpacket, int backlog = 16)
    {
        _path = path;
        _listener = new Socket(AddressFamily.Unix, type, ProtocolType.Unspecified);
        // It gets its name only once it listens and accepts connections: httpd does not retry after EACCES.
        string unready = _path + ".new";
        _listener.Bind(new UnixDomainSocketEndPoint(unready));
        File.SetUnixFileMode(unready, (UnixFileMode)0b110_110_110);
        _listener.Listen(backlog);
        File.Move(unready, _path);
    }

    /// <summary>The seals of the memory in which the last data came; null if it came as a message.</summary>
    public int? Seals { get; private set; }

    /// <summary>Takes the next handoff, answers the client with a line, and returns the data.</summary>
    public byte[] Serve(string answer)
    {
        using var connection = AcceptOne();
        var (data, fd, memory) = Receive(connection);
        Seals = memory < 0 ? null : Fcntl(memory, GetSeals, 0);
        if (memory >= 0)
            data = ReadMemory(memory, Encoding.ASCII.GetString(data));
        // System calls, because Socket refuses one that arrives with O_NONBLOCK set, and httpd sets it.
        byte[] bytes = Encoding.ASCII.GetBytes($"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{answer}\n");
        Assert.Equal(bytes.Length, Write(fd, bytes, bytes.Length));
        Assert.Equal(0, Close(fd));
        return data;
    }

    /// <summary>Whether somebody has connected and waits.</summary>
    public bool HasConnection => _listener.Poll(TimeSpan.Zero, SelectMode.SelectRead);

    public Socket AcceptOne()
    {
        Assert.True(_listener.Poll(Wait.Limit, SelectMode.SelectRead), "Nobody connects.");
        return _listener.Accept();
    }

    /// <summary>Connects until the queue takes no more.</summary>
    public List<Socket> FillQueue()
    {
        List<Socket> waiting = [];
        for (; ; )
        {
            var socket = new Socket(AddressFamily.Unix, _listener.SocketType, ProtocolType.Unspecified)
            {
                Blocking = false,
            };
            try
            {
                socket.Connect(new UnixDomainSocketEndPoint(_path));
                waiting.Add(socket);
            }
            catch (SocketException full) when (full.SocketErrorCode is SocketError.WouldBlock)
            {
                socket.Dispose();
                return waiting;
            }
        }
    }

    public void Dispose()
    {
        _listener.Dispose();
        File.Delete(_path);
    }

    /// <summary>As a daemon does that knows messages only: its room is for one descriptor. It answers the client
    /// with a 400, as it does whatever is no JSON.</summary>
    public string ServeAsBefore()
    {
        using var connection = AcceptOne();
        int fd = -1, memory = -1;
        var buffer = new byte[262_144];
        int count = ReceiveMessage((int)connection.Handle, buffer, room: 20, ref fd, ref memory);
        Assert.Equal(-1, memory);
        byte[] bytes = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"u8.ToArray();
        Assert.Equal(bytes.Length, Write(fd, bytes, bytes.Length));
        Assert.Equal(0, Close(fd));
        return Encoding.ASCII.GetString(buffer, 0, count);
    }

    /// <summary>All data up to the end, the client's descriptor, and that of memory.</summary>
    private static (byte[] Data, int Fd, int Memory) Receive(Socket connection)
    {
        using var data = new MemoryStream();
        int fd = -1, memory = -1;
        var buffer = new byte[262_144];
        for (; ; )
        {
            int count = ReceiveMessage((int)connection.Handle, buffer, room: 64, ref fd, ref memory);
            if (count == 0)
                return (data.ToArray(), fd, memory);
            data.Write(buffer, 0, count);
            // It keeps the connection open until it reads this.
            if (memory >= 0)
                connection.Send("handoff-data/1\n"u8);
        }
    }

    private static byte[] ReadMemory(int memory, string line)
    {
        using var file = new FileStream(new SafeFileHandle(memory, ownsHandle: true), FileAccess.Read);
        var data = new byte[file.Length];
        file.Position = 0;
        file.ReadExactly(data);
        Assert.Equal($"handoff-data/1 {data.Length}\n", line);
        return data;
    }

    private static int ReceiveMessage(int socket, byte[] buffer, int room, ref int fd, ref int memory)
    {
        byte* control = stackalloc byte[64];
        fixed (byte* bytes = buffer)
        {
            IoVector vector = new() { Base = bytes, Length = (nuint)buffer.Length };
            Message message = new()
            {
                Vectors = &vector,
                VectorCount = 1,
                Control = control,
                ControlLength = (nuint)room,
            };
            int count = (int)RecvMsg(socket, &message, 0);
            Assert.True(count >= 0, $"recvmsg: errno {Marshal.GetLastPInvokeError()}");
            // struct cmsghdr { size_t len; int level; int type; }, then one int for each descriptor.
            if (message.ControlLength > 0)
            {
                Assert.Equal(-1, fd);
                fd = *(int*)(control + 16);
                if (*(nuint*)control == 24)
                    memory = *(int*)(control + 20);
                else
                    Assert.Equal(20u, *(nuint*)control);
            }
            return count;
        }
    }

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint RecvMsg(int socket, Message* message, int flags);

    [LibraryImport("libc", EntryPoint = "fcntl")]
    private static partial int Fcntl(int fd, int command, int argument);

    [LibraryImport("libc", EntryPoint = "write")]
    private static partial nint Write(int fd, byte[] bytes, nint count);

    [LibraryImport("libc", EntryPoint = "close")]
    private static partial int Close(int fd);

    [StructLayout(LayoutKind.Sequential)]
    private struct IoVector
    {
        public byte* Base;
        public nuint Length;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Message
    {
        public void* Name;
        public uint NameLength;
        public IoVector* Vectors;
        public nuint VectorCount;
        public void* Control;
        public nuint ControlLength;
        public int Flags;
    }
}
