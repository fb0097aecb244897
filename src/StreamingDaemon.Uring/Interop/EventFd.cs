using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace StreamingDaemon.Uring.Interop;

/// <summary>An eventfd(2) by which any thread wakes the loop, and the 8 bytes that the ring reads it
/// into.</summary>
internal sealed unsafe class EventFd : IDisposable
{
    private readonly SafeFileHandle _handle;
    private bool _disposed;

    /// <exception cref="HandoffServerException">No descriptor is left.</exception>
    public EventFd()
    {
        Fd = LinuxNative.EventFd();
        if (Fd < 0)
        {
            throw new HandoffServerException(
                $"eventfd: {LinuxNative.Describe(Fd)}. Raise the limit of descriptors: ulimit -n 20000; "
                + "systemd: LimitNOFILE=20000; Docker: --ulimit nofile=20000", -Fd);
        }

        _handle = new SafeFileHandle(Fd, ownsHandle: true);
        Buffer = (ulong*)NativeMemory.AllocZeroed(sizeof(ulong));
    }

    public int Fd { get; }

    public ulong* Buffer { get; }

    /// <summary>Adds one. From any thread, even while it is disposed: its number may belong to another file
    /// by then.</summary>
    public void Signal()
    {
        var held = false;
        try
        {
            _handle.DangerousAddRef(ref held);
            ulong one = 1;
            _ = LinuxNative.Write(Fd, &one, sizeof(ulong));
        }
        catch (ObjectDisposedException)
        {
            // The loop has ended: no thread to wake.
        }
        finally
        {
            if (held)
                _handle.DangerousRelease();
        }
    }

    public void Dispose()
    {
        if (_disposed)
            return;
        _disposed = true;
        _handle.Dispose();
        NativeMemory.Free(Buffer);
    }
}
