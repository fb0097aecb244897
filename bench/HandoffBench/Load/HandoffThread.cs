using System.Collections.Concurrent;
using System.Diagnostics;
using StreamingDaemon.Bench.Interop;
using StreamingDaemon.Bench.Streams;

namespace StreamingDaemon.Bench.Load;

/// <summary>Plays Apache: makes a client, hands it over when due, and leaves it to the reader.</summary>
internal sealed class HandoffThread : IDisposable
{
    private readonly LoadPlan _plan;
    private readonly ClientSlot[] _slots;
    private readonly IStreamReaders _readers;
    private readonly StreamTimings _timings;
    private readonly IClientPairs _pairs;
    private readonly HandoffSender _sender;
    private readonly ConcurrentQueue<int> _free = new();
    private readonly Queue<(int Browser, int Server)> _connected = new();
    private readonly SemaphoreSlim _freeCount = new(0);
    private readonly Thread _thread;
    private long _start;
    private int _begun;
    private volatile bool _stopped, _ended;
    private Exception? _fault;

    public HandoffThread(LoadPlan plan, string socketPath, ClientSlot[] slots, IStreamReaders readers,
        StreamTimings timings)
    {
        _plan = plan;
        _slots = slots;
        _readers = readers;
        _timings = timings;
        _sender = new HandoffSender(socketPath, plan.Request.Span);
        _pairs = IClientPairs.For(plan.Tcp);
        _thread = new Thread(Run) { Name = "handoffs", IsBackground = true };
        for (var i = 0; i < slots.Length && plan.IsClosedLoop; i++)
            Release(i);
    }

    /// <summary>Streams handed to the daemon so far, ended ones included.</summary>
    public int Begun => Volatile.Read(ref _begun);

    /// <summary>No more streams will begin. Read it before <see cref="Begun"/>.</summary>
    public bool HasEnded => _ended;

    /// <summary>Failed handoffs; read it after <see cref="Join"/>.</summary>
    public Dictionary<StreamVerdict, int> Failures { get; } = [];

    public string? FirstError { get; private set; }

    /// <summary>Makes every client before the clock runs, if the plan asks for it; call it before
    /// <see cref="Start"/>.</summary>
    /// <exception cref="SystemCallException">Two descriptors per client are too many.</exception>
    public void ConnectFirst()
    {
        for (var i = 0; _plan.ConnectsFirst && i < _plan.Streams; i++)
            _connected.Enqueue(_pairs.Create());
    }

    public void Start(long startAt)
    {
        _start = startAt;
        _thread.Start();
    }

    /// <summary>A stream is over and its slot is free; called by the reader.</summary>
    public void Release(int slot)
    {
        if (!_plan.IsClosedLoop)
            return;
        _free.Enqueue(slot);
        _freeCount.Release();
    }

    public void Stop() => _stopped = true;

    /// <exception cref="InvalidOperationException">The thread failed.</exception>
    public void Join()
    {
        _thread.Join();
        if (_fault is not null)
            throw new InvalidOperationException($"the load generator failed: {_fault.Message}", _fault);
    }

    public void Dispose()
    {
        while (_connected.TryDequeue(out var pair))
        {
            _ = Native.Close(pair.Browser);
            _ = Native.Close(pair.Server);
        }

        _sender.Dispose();
        _pairs.Dispose();
        _freeCount.Dispose();
    }

    private void Run()
    {
        Native.WantToRunSoon();
        try
        {
            if (_plan.IsClosedLoop)
                RunClosedLoop();
            else
                RunOpenLoop();
        }
        catch (Exception exception)
        {
            _fault = exception;
        }
        finally
        {
            _ended = true;
        }
    }

    private void RunOpenLoop()
    {
        Native.WantPreciseSleep();
        var schedule = new ArrivalSchedule(_start, _plan.Rate);
        for (var i = 0; i < _plan.Streams && !_stopped; i++)
        {
            var due = schedule.At(i);
            if (due > Stopwatch.GetTimestamp())
                Native.SleepUntil(due);
            Begin(i, due);
        }
    }

    private void RunClosedLoop()
    {
        var limit = _plan.Duration;
        while (!_stopped && Stopwatch.GetElapsedTime(_start) < limit)
        {
            if (!_freeCount.Wait(TimeSpan.FromMilliseconds(50)) || !_free.TryDequeue(out var slot))
                continue;
            // A user who comes when another has left: due now.
            if (!Begin(slot, Stopwatch.GetTimestamp()))
            {
                Thread.Sleep(1); // A daemon that refuses everything must not be asked a million times.
                Release(slot);
            }
        }
    }

    private bool Begin(int index, long due)
    {
        var (browser, server) = _connected.TryDequeue(out var pair) ? pair : _pairs.Create();
        var error = _sender.Send(server);
        _ = Native.Close(server);
        if (error != 0)
        {
            _ = Native.Close(browser);
            Failures[StreamVerdict.HandoffFailed] =
                Failures.GetValueOrDefault(StreamVerdict.HandoffFailed) + 1;
            FirstError ??= new SystemCallException("handoff", error).Message;
            return false;
        }

        _timings.OnHandedOver(due, Stopwatch.GetTimestamp());
        _slots[index] = new ClientSlot { Fd = browser, DueAt = due };
        Volatile.Write(ref _begun, _begun + 1);
        // From here on the slot is the reader's.
        _readers.Add(index);
        return true;
    }
}
