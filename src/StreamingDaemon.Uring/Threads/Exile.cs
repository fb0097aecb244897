using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Where sockets wait for their release if as many threads hang in releases as may. Each is in flight
/// (unix(7), SCM_RIGHTS) in a queue of this process's own: it takes no place in the table of descriptors, and
/// to close it here is not its last close, so that does not wait. The read that drops it from its queue
/// releases it.
/// </summary>
internal sealed unsafe class Exile
{
    /// <summary>Messages of one queue. The kernel counts about 1 KiB for each, and allows 208 KiB.</summary>
    private const int MostInQueue = 128;

    private readonly Lock _gate = new();

    /// <summary>Messages that each queue still holds, by the descriptor that they are read from.</summary>
    private readonly Dictionary<int, int> _left = [];

    private int _writer = -1;
    private int _reader = -1;

    /// <summary>Sends a socket away, and closes it here.</summary>
    /// <param name="fd">Whatever is to be released.</param>
    /// <param name="queue">To be given to <see cref="Release"/> once.</param>
    /// <returns>False if it is no socket, or if the kernel refuses: then it is still open. A file may wait in
    /// each of its closes, so it gains nothing.</returns>
    public bool TrySend(int fd, out int queue)
    {
        queue = -1;
        if (LinuxNative.GetSockOpt(fd, SolSocket, SoDomain, out _) < 0)
            return false;
        lock (_gate)
        {
            if (!TrySendLocked(fd))
                return false;
            queue = _reader;
        }

        _ = LinuxNative.Close(fd);
        return true;
    }

    /// <summary>Releases the oldest socket of a queue. This may wait.</summary>
    public void Release(int queue)
    {
        byte mark;
        _ = LinuxNative.Recv(queue, &mark, 1, MsgDontWait);
        lock (_gate)
        {
            if (--_left[queue] > 0)
                return;
            if (queue == _reader)
                Seal();
            _left.Remove(queue);
        }

        _ = LinuxNative.Close(queue);
    }

    private bool TrySendLocked(int fd)
    {
        if (_reader >= 0 && _left[_reader] == MostInQueue)
            Seal();
        if (_reader < 0)
        {
            const int Type = SockStream | SockCloExec | SockNonBlock;
            if (LinuxNative.SocketPair(AfUnix, Type, out var writer, out var reader) < 0)
                return false;
            (_writer, _reader) = (writer, reader);
            _left[reader] = 0;
        }

        if (Send(_writer, fd) == 1)
        {
            _left[_reader]++;
            return true;
        }

        // ETOOMANYREFS: RLIMIT_NOFILE bounds the descriptors of a user that are in flight, too.
        if (_left[_reader] == 0)
        {
            _left.Remove(_reader);
            _ = LinuxNative.Close(_reader);
        }

        Seal();
        return false;
    }

    /// <summary>The queue gets no more. It keeps what it holds after its other end is closed.</summary>
    private void Seal()
    {
        _ = LinuxNative.Close(_writer);
        _writer = _reader = -1;
    }

    private static int Send(int writer, int fd)
    {
        byte mark = 0;
        return LinuxNative.SendDescriptors(writer, &mark, 1, [fd], MsgDontWait | MsgNoSignal);
    }
}
