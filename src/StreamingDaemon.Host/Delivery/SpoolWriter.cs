using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Writes deliveries on threads of its own, because a disk may take its time. Those that come while one is
/// written share the next write of the directory.
/// </summary>
internal sealed class SpoolWriter : IDisposable
{
    /// <summary>Two, so that one writes while the disk is busy with the other's.</summary>
    private const int Threads = 2;

    /// <summary>Most deliveries that wait for each other.</summary>
    private const int MostAtOnce = 64;

    private readonly object _gate = new();
    private readonly Queue<Job> _jobs = new();
    private readonly DeliverySpool _spool;
    private bool _disposed;

    public SpoolWriter(DeliverySpool spool) => _spool = spool;

    /// <summary>Starts the threads.</summary>
    /// <exception cref="HandoffServerException">The system refuses a thread.</exception>
    public void Start()
    {
        for (var i = 0; i < Threads; i++)
            PreparedThread.Start("spool", Run);
    }

    /// <summary>Writes a delivery.</summary>
    /// <returns>Null once it is on the disk, or what went wrong. Never throws.</returns>
    public Task<string?> WriteAsync(SpoolName name, ReadOnlyMemory<byte> body)
    {
        var job = new Job(name, body);
        lock (_gate)
        {
            if (_disposed)
                return Task.FromResult<string?>("the daemon has ended");
            _jobs.Enqueue(job);
            Monitor.Pulse(_gate);
        }

        return job.Written.Task;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _disposed = true;
            Monitor.PulseAll(_gate);
        }
    }

    private void Run()
    {
        var jobs = new List<Job>(MostAtOnce);
        while (Take(jobs))
        {
            try
            {
                Write(jobs);
            }
            catch (OutOfMemoryException)
            {
                OutOfMemory.Survive();
                foreach (var job in jobs)
                    job.Written.TrySetResult("the process has no memory");
            }

            jobs.Clear();
        }
    }

    /// <returns>False if the writer is disposed and everything is written.</returns>
    private bool Take(List<Job> jobs)
    {
        lock (_gate)
        {
            while (_jobs.Count == 0)
            {
                if (_disposed)
                    return false;
                Monitor.Wait(_gate);
            }

            while (jobs.Count < MostAtOnce && _jobs.TryDequeue(out var job))
                jobs.Add(job);
            return true;
        }
    }

    private void Write(List<Job> jobs)
    {
        var prepared = new List<Job>(jobs.Count);
        foreach (var job in jobs)
        {
            if (Try(() => _spool.Prepare(job.Name, job.Body.Span)) is { } problem)
                job.Written.SetResult(problem);
            else
                prepared.Add(job);
        }

        if (prepared.Count == 0)
            return;
        var failure = Try(() => _spool.Publish([.. prepared.Select(job => job.Name)]));
        foreach (var job in prepared)
            job.Written.SetResult(failure);
    }

    private static string? Try(Action write)
    {
        try
        {
            write();
            return null;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return e.Message.TrimEnd('.');
        }
    }

    private sealed class Job(SpoolName name, ReadOnlyMemory<byte> body)
    {
        public SpoolName Name => name;

        public ReadOnlyMemory<byte> Body => body;

        public TaskCompletionSource<string?> Written { get; } =
            new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
