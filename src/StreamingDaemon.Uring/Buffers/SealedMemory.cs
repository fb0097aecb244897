using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Buffers;

/// <summary>A sealed memfd (memfd_create(2)) that came as a handoff's data, whose length it names.</summary>
internal readonly record struct SealedMemory(int Fd, int Length)
{
    /// <summary>What makes its bytes and its length final.</summary>
    public const int Seals = FileNative.SealShrink | FileNative.SealGrow | FileNative.SealWrite;

    /// <summary>
    /// Is it sealed? The kernel answers for memory files only, and asks no file system (memfd_get_seals):
    /// every other descriptor is refused here, before anything of it can be waited for. What is sealed
    /// changes neither its length nor its bytes, and its reads wait for nobody.
    /// </summary>
    public static bool IsSealed(int fd) =>
        FileNative.Fcntl(fd, FileNative.GetSeals, 0) is >= 0 and var seals && (seals & Seals) == Seals;

    /// <summary>Reads it into the buffer, which has room for it. Not for the loop's thread: it copies
    /// megabytes.</summary>
    /// <returns>False if it has another length.</returns>
    public unsafe bool TryReadInto(ref NativeBuffer buffer)
    {
        var read = 0;
        while (read < Length)
        {
            var count = FileNative.ReadAt(Fd, buffer.Pointer + read, Length - read, read);
            if (count == -Errno.Intr)
                continue;
            if (count <= 0)
                return false;
            read += count;
        }

        byte more;
        if (FileNative.ReadAt(Fd, &more, 1, Length) != 0)
            return false;
        buffer.Length = Length;
        return true;
    }
}
