using System.Net.Sockets;
using System.Runtime.InteropServices;
using StreamingDaemon.Testing;

namespace StreamingDaemon.Bench.Tests;

/// <summary>Takes handoffs as a daemon does, and answers each as the test says.</summary>
internal sealed unsafe partial class FakeDaemon : IDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly Socket _listener = new(AddressFamily.Unix, SocketType.Seqpacket, ProtocolType.Unspecified);
    private readonly Action<int, Socket> _answer;
    private readonly Thread _thread;
    private Exception? _fault;

    /// <param name="answer">Gets the number of the handoff, from 0, and the client; it closes it.</param>
    /// <param name="backlog">Handoffs that may wait to be accepted.</param>
    public FakeDaemon(Action<int, Socket> answer, int backlog = 512)
    {
        _answer = answer;
        SocketPath = _directory.File("s");
        _listener.Bind(new UnixDomainSocketEndPoint(SocketPath));
        _listener.Listen(backlog);
        _thread = new Thread(Run) { IsBackground = true };
        _thread.Start();
    }

    public string SocketPath { get; }

    public void Dispose()
    {
        _listener.Dispose();
        _thread.Join();
        _directory.Dispose();
        if (_fault is not null)
            throw new InvalidOperationException("the fake daemon failed", _fault);
    }

    private void Run()
    {
        for (var number = 0; ; number++)
        {
            Socket connection;
            try
            {
                connection = _listener.Accept();
            }
            catch (Exception exception) when (exception is SocketException or ObjectDisposedException)
            {
                return;
            }

            using (connection)
            {
                try
                {
                    var client = Posix.ToSocket(ReceiveDescriptor((int)connection.Handle));
                    // As the descriptor is; what is sent here fits the kernel's buffer.
                    client.Blocking = false;
                    _answer(number, client);
                }
                catch (Exception exception)
                {
                    // The test ends on it instead of waiting for what never comes.
                    _fault = exception;
                    _listener.Dispose();
                }
            }
        }
    }

    private static int ReceiveDescriptor(int fd)
    {
        var data = stackalloc byte[4096];
        var control = stackalloc byte[64];
        var vector = stackalloc nuint[2] { (nuint)data, 4096 };
        var message = stackalloc nuint[7] { 0, 0, (nuint)vector, 1, (nuint)control, 64, 0 };
        if (ReceiveMessage(fd, message, 0) < 0)
            throw new InvalidOperationException($"recvmsg: {Marshal.GetLastPInvokeError()}");
        return *(int*)(control + 16);
    }

    [LibraryImport("libc", EntryPoint = "recvmsg", SetLastError = true)]
    private static partial nint ReceiveMessage(int fd, nuint* message, int flags);
}
