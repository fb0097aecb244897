using StreamingDaemon.Uring.Clients;
using StreamingDaemon.Uring.Interop;
using StreamingDaemon.Uring.Ring;

namespace StreamingDaemon.Uring.Tests.Loop;

/// <summary>
/// Stands between the loop and the kernel, and holds the loop to its invariants: one send in flight for each client,
/// and no descriptor closed while an operation on it is in flight. Breaks a share of the calls besides.
/// </summary>
internal sealed class KernelWitness(Random random, bool faulty)
{
    private static readonly int[] s_passing = [-Errno.Canceled, -Errno.Intr, -Errno.Again, -Errno.NoBufs];

    private readonly Dictionary<ulong, int> _inFlight = [];
    private readonly Dictionary<ulong, int> _faults = [];
    private readonly List<SubmissionEntry> _offered = [];

    public int Sends { get; private set; }

    public int Faults { get; private set; }

    public int Enter(in EnterCall call)
    {
        if (faulty && random.Next(10) == 0)
        {
            Faults++;
            return random.Next(2) == 0 ? -Errno.Busy : -Errno.Intr;
        }

        _offered.Clear();
        for (var i = 0; i < call.SubmissionCount; i++)
        {
            if (OperationId.KindOf(call.Submission(i).UserData) == OperationKind.ClientCloseNotify)
                Replace(ref call.Submission(i), AnswerCloseNotify());
            else if (faulty)
                Break(ref call.Submission(i));
            _offered.Add(call.Submission(i));
        }

        var result = call.Proceed();
        for (var i = 0; i < result; i++)
            OnSubmitted(_offered[i]);
        for (var i = 0; i < call.CompletionCount; i++)
            OnCompleted(ref call.Completion(i));
        return result;
    }

    /// <summary>A call on a client's socket, which is made at once.</summary>
    public int Call(in ClientCall call)
    {
        if (call.Kind == OperationKind.ClientSend)
            Sends++;
        if (call.Kind == OperationKind.ClientCloseNotify)
            return AnswerCloseNotify();
        // Long enough that the thread is found to hang, and replaced.
        if (faulty && random.Next(200) == 0)
            Thread.Sleep(150);
        if (!faulty || call.Kind == OperationKind.ClientShutdown)
            return call.Proceed();
        if (random.Next(12) != 0)
        {
            return call.Proceed(call.Kind == OperationKind.ClientSend && random.Next(4) == 0
                ? random.Next(1, 50)
                : int.MaxValue);
        }

        Faults++;
        return s_passing[random.Next(call.Kind == OperationKind.ClientRead ? 3 : s_passing.Length)];
    }

    /// <summary>A descriptor is given up.</summary>
    public void OnReleasing(int released)
    {
        foreach (var (userData, fd) in _inFlight)
        {
            if (fd == released)
                throw new InvalidOperationException($"{Name(userData)} is in flight on {fd}, which is closed");
        }
    }

    private void Break(ref SubmissionEntry entry)
    {
        var kind = OperationId.KindOf(entry.UserData);
        if (kind == OperationKind.ClientSend && entry.Opcode != 0 && random.Next(4) == 0)
            entry.Length = (uint)random.Next(1, (int)Math.Min(entry.Length, 50) + 1);
        if (kind is not (OperationKind.ClientSend or OperationKind.HandoffReceive or OperationKind.ClientRead)
            || entry.Opcode == 0 || random.Next(12) != 0)
        {
            return;
        }
        Replace(ref entry, s_passing[random.Next(kind == OperationKind.ClientRead ? 3 : s_passing.Length)]);
        Faults++;
    }

    /// <summary>A NOP in its place: nothing is done, and its completion says this.</summary>
    private void Replace(ref SubmissionEntry entry, int result)
    {
        if (entry.Opcode == 0)
            return;
        _faults[entry.UserData] = result;
        entry = new SubmissionEntry { UserData = entry.UserData, Fd = entry.Fd };
    }

    /// <summary>As a kernel with TLS would, which sends both bytes of the alert.</summary>
    private int AnswerCloseNotify() =>
        faulty && random.Next(4) == 0 ? s_passing[random.Next(s_passing.Length)] : 2;

    private void OnSubmitted(in SubmissionEntry entry)
    {
        switch (OperationId.KindOf(entry.UserData))
        {
            case OperationKind.Cancel or OperationKind.Wake or OperationKind.Accept:
                break;
            default:
                if (!_inFlight.TryAdd(entry.UserData, entry.Fd))
                    throw new InvalidOperationException($"{Name(entry.UserData)} is in flight twice");
                if (OperationId.KindOf(entry.UserData) == OperationKind.ClientSend)
                    Sends++;
                break;
        }
    }

    private void OnCompleted(ref CompletionEntry completion)
    {
        if (_faults.Remove(completion.UserData, out var fault))
            completion.Result = fault;
        if ((completion.Flags & IoUringConstants.CqeMore) == 0)
            _inFlight.Remove(completion.UserData);
    }

    private static string Name(ulong userData) =>
        $"{OperationId.KindOf(userData)} of slot {OperationId.SlotOf(userData)}.{OperationId.GenerationOf(userData)}";
}
