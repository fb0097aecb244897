using StreamingDaemon.Uring.Interop;

namespace StreamingDaemon.Uring.Buffers;

/// <summary>
/// Receive areas for handoffs. Loop-owned. Each handoff begins with a small one. A longer message is only
/// looked at, and received into a large one. Large ones are few, so that thousands of peers sending at once
/// cannot take everybody's memory. The most recently used is used next, so that ordinary handoffs share a few
/// warm pages.
/// </summary>
/// <param name="maxHandoffBytes">The largest message.</param>
/// <param name="mayMap">False if the kernel should have no memory, for tests.</param>
/// <param name="mostLarge">Large areas at once.</param>
internal sealed unsafe class HandoffMemoryPool(
    int maxHandoffBytes, Func<bool>? mayMap = null, int mostLarge = HandoffMemoryPool.MostLarge) : IDisposable
{
    public const int MostLarge = 256;
    private const int FewestLarge = 4;

    /// <summary>The prompts of a chat's first messages fit.</summary>
    private const int SmallDataBytes = 8 * 1024;

    /// <summary>Memory that a small area takes, once used.</summary>
    public static int SmallBytes { get; } = HandoffMemory.BytesFor(SmallDataBytes - 1);

    /// <summary>A larger message's pages go back to the system.</summary>
    private const int KeptBytes = 16 * 1024;

    // One byte more than is accepted, to detect a stream's excess; MSG_TRUNC shows a message's.
    private readonly int _largeDataBytes = maxHandoffBytes + 1;
    private readonly Areas _small = new(Math.Min(SmallDataBytes, maxHandoffBytes + 1), areasPerMapping: 64);
    private readonly Areas _large = new(maxHandoffBytes + 1, areasPerMapping: 4);
    private int _largeInUse;

    /// <summary>How many large areas fit into this many bytes.</summary>
    public static int LargeWithin(long bytes, int maxHandoffBytes) =>
        (int)Math.Clamp(bytes / HandoffMemory.BytesFor(maxHandoffBytes), FewestLarge, MostLarge);

    /// <returns>False if the system has no memory left to map.</returns>
    public bool TryRent(out HandoffMemory memory) => _small.TryTake(mayMap, out memory);

    /// <summary>May it hold the largest message?</summary>
    public bool IsLarge(in HandoffMemory memory) => memory.Capacity == _largeDataBytes;

    /// <summary>Exchanges a small area for a large one.</summary>
    /// <param name="memory">Replaced.</param>
    /// <param name="keep">Bytes in it that are kept.</param>
    /// <returns>False if all are in use, or the system has no memory to map.</returns>
    public bool TryEnlarge(ref HandoffMemory memory, int keep)
    {
        if (_largeInUse == mostLarge || !_large.TryTake(mayMap, out var large))
            return false;
        _largeInUse++;
        new ReadOnlySpan<byte>(memory.Data, keep).CopyTo(new Span<byte>(large.Data, keep));
        _small.Return(memory);
        memory = large;
        return true;
    }

    public void Return(ref HandoffMemory memory, int used)
    {
        if (memory.Pointer is null)
            return;
        if (memory.Capacity <= SmallDataBytes)
        {
            _small.Return(memory);
        }
        else
        {
            if (used > KeptBytes)
                _ = LinuxNative.MAdvise(memory.Data, (nuint)_largeDataBytes, LinuxNative.MadvDontNeed);
            _largeInUse--;
            _large.Return(memory);
        }

        memory = default;
    }

    /// <summary>Returns everything to the system, if nothing is rented.</summary>
    public void Trim()
    {
        _small.Trim();
        _large.Trim();
    }

    public void Dispose()
    {
        _small.Unmap();
        _large.Unmap();
    }

    /// <summary>Areas of one size.</summary>
    private sealed class Areas(int dataBytes, int areasPerMapping)
    {
        private readonly int _areaBytes = HandoffMemory.BytesFor(dataBytes - 1);
        private readonly List<nint> _mappings = [];
        private readonly Stack<nint> _free = new();

        private nuint MappingBytes => (nuint)_areaBytes * (nuint)areasPerMapping;

        public bool TryTake(Func<bool>? mayMap, out HandoffMemory memory)
        {
            memory = default;
            if (_free.Count == 0)
            {
                if (mayMap?.Invoke() == false || LinuxNative.MMap(MappingBytes, -1, 0, out var mapping) < 0)
                    return false;

                _mappings.Add((nint)mapping);
                for (var i = areasPerMapping - 1; i >= 0; i--)
                    _free.Push((nint)(mapping + (long)i * _areaBytes));
            }

            memory = new HandoffMemory((byte*)_free.Pop(), dataBytes);
            return true;
        }

        public void Return(in HandoffMemory memory) => _free.Push((nint)memory.Pointer);

        public void Trim()
        {
            if (_free.Count == _mappings.Count * areasPerMapping)
                Unmap();
        }

        public void Unmap()
        {
            foreach (var mapping in _mappings)
                _ = LinuxNative.MUnmap((void*)mapping, MappingBytes);
            _mappings.Clear();
            _free.Clear();
        }
    }
}
