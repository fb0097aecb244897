using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Handoff;

/// <summary>
/// Receive areas for handoffs. Loop-owned. Each can hold the largest message but touches only the pages that
/// its message fills, and the most recently used is used next, so that ordinary handoffs share a few warm
/// pages.
/// </summary>
/// <param name="maxHandoffBytes">The largest message.</param>
/// <param name="mayMap">False where the kernel is to have no memory, for tests.</param>
internal sealed unsafe class HandoffMemoryPool(int maxHandoffBytes, Func<bool>? mayMap = null) : IDisposable
{
    private const int AreasPerMapping = 64;

    /// <summary>A larger message's pages go back to the system.</summary>
    private const int KeptBytes = 16 * 1024;

    private readonly int _areaBytes = HandoffMemory.BytesFor(maxHandoffBytes);
    private readonly List<nint> _mappings = [];
    private readonly Stack<nint> _free = new();

    /// <returns>False where the system has no memory left to map.</returns>
    public bool TryRent(out HandoffMemory memory)
    {
        if (_free.Count == 0)
        {
            memory = default;
            if (mayMap?.Invoke() == false
                || LinuxNative.MMap((nuint)_areaBytes * AreasPerMapping, -1, 0, out var mapping) < 0)
            {
                return false;
            }

            _mappings.Add((nint)mapping);
            for (var i = AreasPerMapping - 1; i >= 0; i--)
                _free.Push((nint)(mapping + (long)i * _areaBytes));
        }

        memory = new HandoffMemory((byte*)_free.Pop());
        return true;
    }

    public void Return(ref HandoffMemory memory, int used)
    {
        if (memory.Pointer is null)
            return;
        if (used > KeptBytes)
            _ = LinuxNative.MAdvise(memory.Data, (nuint)(_areaBytes - (memory.Data - memory.Pointer)),
                LinuxNative.MadvDontNeed);
        _free.Push((nint)memory.Pointer);
        memory = default;
    }

    /// <summary>Gives everything back to the system, where nothing is rented.</summary>
    public void Trim()
    {
        if (_free.Count == _mappings.Count * AreasPerMapping)
            Dispose();
    }

    public void Dispose()
    {
        foreach (var mapping in _mappings)
            _ = LinuxNative.MUnmap((void*)mapping, (nuint)_areaBytes * AreasPerMapping);
        _mappings.Clear();
        _free.Clear();
    }
}
