namespace StreamingDaemon.Uring;

/// <summary>
/// Bytes that streams, their requests and their pending output may hold together. One for all loops; from any
/// thread. Admission looks at one sum: an interlocked add for a stream, and none for a token.
/// </summary>
/// <param name="limit">Above this no stream is admitted.</param>
/// <param name="bytesPerStream">What a stream costs beside its request and its pending output.</param>
public sealed class MemoryBudget(long limit, int bytesPerStream)
{
    /// <summary>Bytes of memory per byte of a handoff, until the backend has written its request. Two for the
    /// text as UTF-16, one for the request's body, two for garbage by then.</summary>
    public const int PerHandoffByte = 5;

    /// <summary>A refused client's handoff is read, for its request id and headers, while less than this part
    /// of the limit is held above the limit. Beyond that, it is refused unread.</summary>
    private const int RefusalShare = 16;

    private long _held;
    private long _inKernel;
    private long _refused;
    private int _bytesPerStream = bytesPerStream;

    /// <summary>Without a limit: nothing is refused.</summary>
    public static MemoryBudget Unlimited => new(long.MaxValue / 2, 0);

    /// <summary>Above this no stream is admitted.</summary>
    public long Limit { get; } = limit;

    /// <summary>Bytes held now.</summary>
    public long Held => Volatile.Read(ref _held);

    /// <summary>Those of <see cref="Held"/> that are in the kernel, and so not in the process's resident
    /// memory.</summary>
    public long HeldInKernel => Volatile.Read(ref _inKernel);

    /// <summary>Streams refused because memory was short.</summary>
    public long Refused => Volatile.Read(ref _refused);

    /// <summary>Too much is held to admit another stream: clients that are behind get no more bytes
    /// ahead.</summary>
    public bool IsTight => Held > Limit;

    /// <summary>Even one flush for each client that is behind is too much: thousands that read nothing would
    /// end the process. So those end.</summary>
    public bool IsExceeded => Held > Limit + (Limit / RefusalShare);

    /// <summary>What a stream costs beside its request and its pending output. It changes if the upstream
    /// turns out to need a connection per stream.</summary>
    public int BytesPerStream
    {
        get => Volatile.Read(ref _bytesPerStream);
        set => Volatile.Write(ref _bytesPerStream, value);
    }

    /// <summary>Bytes that a handoff holds from its admission until its request is written.</summary>
    internal static long ForHandoff(int bytes) => (long)PerHandoffByte * bytes;

    /// <summary>Admits a stream. Return its bytes with <see cref="Return"/>.</summary>
    /// <param name="handoffBytes">Length of its handoff.</param>
    /// <param name="stream">What it holds until its end, without its request.</param>
    /// <returns>False if there is no room; then nothing is held.</returns>
    internal bool TryAdmit(int handoffBytes, out int stream)
    {
        stream = BytesPerStream;
        var bytes = stream + ForHandoff(handoffBytes);
        if (Interlocked.Add(ref _held, bytes) <= Limit)
            return true;
        Interlocked.Add(ref _held, -bytes);
        Interlocked.Increment(ref _refused);
        stream = 0;
        return false;
    }

    /// <summary>May a refused client's handoff be kept until it is read?</summary>
    internal bool MayReadRefused(int handoffBytes) => Held + handoffBytes <= Limit + (Limit / RefusalShare);

    /// <summary>Holds this many bytes, whatever the limit is: for streams that were admitted.</summary>
    public void Hold(long bytes) => Interlocked.Add(ref _held, bytes);

    /// <summary>As <see cref="Hold"/>, for bytes in the kernel; a negative number gives them back.</summary>
    internal void HoldInKernel(long bytes)
    {
        Interlocked.Add(ref _inKernel, bytes);
        Hold(bytes);
    }

    /// <summary>Gives bytes back.</summary>
    public void Return(long bytes) => Interlocked.Add(ref _held, -bytes);
}
