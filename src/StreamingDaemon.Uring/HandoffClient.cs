using System.Net.Sockets;
using System.Text;
using StreamingDaemon.Uring.Buffers;
using StreamingDaemon.Uring.Handoff;
using StreamingDaemon.Uring.Interop;
using static StreamingDaemon.Uring.Interop.SocketConstants;

namespace StreamingDaemon.Uring;

/// <summary>The other side of a handoff: what the Apache module does, for tools and demonstrations.</summary>
public static class HandoffClient
{
    /// <summary>
    /// Passes a socket to a daemon: one connection, one message with the data and the descriptor, close. The
    /// caller's own copy of the descriptor stays open.
    /// </summary>
    /// <param name="socketPath">Path of the daemon's socket, SEQPACKET or STREAM.</param>
    /// <param name="clientSocket">The descriptor to pass.</param>
    /// <param name="data">Handoff data. If it is empty, one NUL byte is sent, as the module does. What is
    /// longer than a message goes in a descriptor.</param>
    /// <param name="patience">Longest wait for a daemon that does not run and whose queue is full; without
    /// it, no bound.</param>
    /// <exception cref="HandoffServerException">The daemon is not there, or does not accept it.</exception>
    public static unsafe void Send(
        string socketPath, int clientSocket, ReadOnlySpan<byte> data, TimeSpan patience = default)
    {
        var fd = Connect(socketPath, patience);
        var memory = -1;
        try
        {
            ReadOnlySpan<byte> message = data.IsEmpty ? "\0"u8 : data;
            if (data.Length > HandoffServerOptions.LongestMessage)
            {
                memory = Seal(data, socketPath);
                message = Encoding.ASCII.GetBytes(DataDescriptor.LineFor(data.Length));
            }

            fixed (byte* bytes = message)
                SendMessage(fd, clientSocket, memory, bytes, message.Length, socketPath);
        }
        finally
        {
            if (memory >= 0)
                _ = LinuxNative.Close(memory);
            _ = LinuxNative.Close(fd);
        }
    }

    /// <summary>A memfd that holds the data, and never anything else.</summary>
    private static unsafe int Seal(ReadOnlySpan<byte> data, string socketPath)
    {
        var fd = FileNative.CreateMemory("handoff-data");
        var error = fd;
        fixed (byte* bytes = data)
        {
            for (var written = 0; error >= 0 && written < data.Length; written += error)
                error = LinuxNative.Write(fd, bytes + written, data.Length - written);
        }

        if (error >= 0)
            error = FileNative.Fcntl(fd, FileNative.AddSeals, SealedMemory.Seals | FileNative.SealSeal);
        if (error >= 0)
            return fd;
        if (fd >= 0)
            _ = LinuxNative.Close(fd);
        throw Failure("memfd", socketPath, error);
    }

    /// <summary>Hands one end of a new Unix pair to a daemon and returns the other, to read the answer
    /// from.</summary>
    /// <exception cref="HandoffServerException">The daemon is not there, or does not accept it.</exception>
    public static Socket Open(string socketPath, ReadOnlySpan<byte> data)
    {
        var error = LinuxNative.SocketPair(AfUnix, SockStream | SockCloExec, out var ours, out var theirs);
        if (error < 0)
            throw Failure("socketpair", socketPath, error);
        var socket = new Socket(new SafeSocketHandle(ours, ownsHandle: true));
        try
        {
            Send(socketPath, theirs, data);
            return socket;
        }
        catch
        {
            socket.Dispose();
            throw;
        }
        finally
        {
            _ = LinuxNative.Close(theirs);
        }
    }

    private static int Connect(string socketPath, TimeSpan patience)
    {
        var address = SocketPath.AddressOf(socketPath);
        var error = -Errno.Prototype;
        foreach (var type in (ReadOnlySpan<int>)[SockSeqPacket, SockStream])
        {
            var fd = LinuxNative.Socket(AfUnix, type | SockCloExec);
            if (fd < 0)
                throw Failure("socket", socketPath, fd);
            // It bounds connect(2) too (unix_stream_connect in Linux).
            if (patience > TimeSpan.Zero)
                _ = LinuxNative.SetSendTimeout(fd, (long)patience.TotalMilliseconds);
            error = LinuxNative.Connect(fd, address);
            if (error == 0)
                return fd;
            _ = LinuxNative.Close(fd);
            if (error != -Errno.Prototype)
                break;
        }

        throw Failure("connect", socketPath, error);
    }

    /// <param name="fd">The connection.</param>
    /// <param name="client">The descriptor to pass.</param>
    /// <param name="memory">One more, or -1.</param>
    /// <param name="bytes">The message.</param>
    /// <param name="length">Of it.</param>
    /// <param name="socketPath">Named by a failure.</param>
    private static unsafe void SendMessage(
        int fd, int client, int memory, byte* bytes, int length, string socketPath)
    {
        ReadOnlySpan<int> descriptors = memory < 0 ? [client] : [client, memory];
        for (var done = 0; done < length;)
        {
            // A stream socket may take only some of the bytes. The descriptors go with the first one.
            var sent = done == 0
                ? LinuxNative.SendDescriptors(fd, bytes, length, descriptors, MsgNoSignal)
                : LinuxNative.Send(fd, bytes + done, length - done, MsgNoSignal);
            if (sent == -Errno.Intr)
                continue;
            if (sent < 0)
                throw Failure("sendmsg", socketPath, sent);
            done += sent;
        }
    }

    private static HandoffServerException Failure(string call, string path, int error) => new(
        $"{path}: {call}: {LinuxNative.Describe(error)}." + -error switch
        {
            Errno.NoEnt or Errno.ConnRefused => " Is the daemon running?",
            Errno.Again => " The daemon stands still: its queue is full.",
            _ => "",
        }, -error);
}
