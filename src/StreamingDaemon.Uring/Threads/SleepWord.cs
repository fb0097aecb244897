using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Threads;

/// <summary>
/// Where one thread sleeps until another one wakes it: a word of memory and futex(2). A Monitor takes up to
/// four system calls for what takes two here, and wakes the sleeper only to wait for the lock.
/// </summary>
internal sealed unsafe class SleepWord
{
    private const int Awake = 0;
    private const int Asleep = 1;

    /// <summary>Pinned: the kernel is told its address.</summary>
    private readonly int[] _memory = GC.AllocateArray<int>(1, pinned: true);

    private ref int Word => ref MemoryMarshal.GetArrayDataReference(_memory);

    /// <summary>From here on <see cref="Wake"/> is awaited. Called under the lock by which the waker learns
    /// of it.</summary>
    public void Begin() => Volatile.Write(ref Word, Asleep);

    /// <summary>Sleeps until <see cref="Wake"/>, which may have been called already.</summary>
    public void Wait()
    {
        while (Volatile.Read(ref Word) == Asleep)
            _ = LinuxNative.FutexWait((int*)Unsafe.AsPointer(ref Word), Asleep);
    }

    /// <summary>Ends the sleep. Once for each <see cref="Begin"/>.</summary>
    public void Wake()
    {
        Volatile.Write(ref Word, Awake);
        _ = LinuxNative.FutexWake((int*)Unsafe.AsPointer(ref Word), 1);
    }
}
