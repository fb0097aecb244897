using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Delivers finished answers to the site: what <see cref="AcceptAsync"/> has taken is on the disk, and is
/// sent until the receiver has it, across restarts. There is none if <c>delivery.url</c> is not set.
/// </summary>
internal sealed class DeliveryService : IHostedService, IDisposable
{
    /// <summary>A disk that takes longer than this for one write does not answer: the stream goes on.
    /// </summary>
    private static readonly TimeSpan s_diskPatience = TimeSpan.FromSeconds(10);

    /// <summary>How long sends in flight may take at the daemon's end; the host gives a second to all.
    /// </summary>
    private static readonly TimeSpan s_stopPatience = TimeSpan.FromMilliseconds(400);

    private readonly DeliveryOptions _options;
    private readonly MemoryBudget _memory;
    private readonly DeliverySpool _spool;
    private readonly SpoolWriter _writer;
    private readonly DeliverySender _sender;
    private readonly DeliveryPump _pump;
    private readonly DeliveryMetrics _metrics;
    private readonly DeliveryLog _log;

    /// <exception cref="IOException">delivery.ca_file cannot be used.</exception>
    public DeliveryService(ReloadableOptions options, StreamMetrics metrics, MemoryBudget memory,
        DeliveryLog log)
    {
        _options = options.Current.Delivery;
        _memory = memory;
        _log = log;
        _metrics = new DeliveryMetrics(metrics.Registry);
        _spool = new DeliverySpool(_options.SpoolDir);
        _writer = new SpoolWriter(_spool);
        _sender = new DeliverySender(_spool, options);
        _pump = new DeliveryPump(_spool, _sender, options, _metrics, log);
    }

    /// <summary>True if answers are delivered whether they are kept or not.</summary>
    public bool TakesAll => _options.Which == DeliveryWhich.All;

    /// <summary>Makes what collects an answer that is to be delivered. Dispose it.</summary>
    public AnswerContent Collect() =>
        new(_options.MaxBytes == 0 ? long.MaxValue : _options.MaxBytes, _memory);

    /// <summary>Takes an answer. Returns once it is on the disk; or, if it cannot be written, once that is
    /// told and counted. Never throws.</summary>
    /// <returns>False if it could not be written.</returns>
    public async Task<bool> AcceptAsync(FinishedAnswer answer)
    {
        var held = 0;
        string? problem;
        try
        {
            answer.Content.End();
            var name = SpoolName.New(answer.UserId);
            var body = answer.ToJson(name.Id);
            held = body.Length;
            _memory.Hold(held);
            problem = await _writer.WriteAsync(name, body).WaitAsync(s_diskPatience).ConfigureAwait(false);
            if (problem is null)
            {
                _metrics.OnAccepted();
                _pump.Add(name);
                return true;
            }
        }
        catch (TimeoutException)
        {
            problem = $"the disk does not answer within {s_diskPatience.TotalSeconds} s";
        }
        catch (OutOfMemoryException)
        {
            OutOfMemory.Survive();
            problem = "the process has no memory";
        }
        finally
        {
            _memory.Return(held);
        }

        _metrics.OnLost();
        _log.Lost(answer.RequestId, problem);
        return false;
    }

    /// <exception cref="IOException">The spool cannot be written.</exception>
    /// <exception cref="HandoffServerException">The system refuses a thread.</exception>
    public Task StartAsync(CancellationToken cancellationToken)
    {
        var problem = SpoolPatience.Look(_spool, onAnswer =>
        {
            var found = _spool.Problem();
            if (found is null)
                SpoolName.StartAfter(_spool.Pending().Select(name => Answered(name, onAnswer)));
            return found;
        });
        if (problem is not null)
            throw new HandoffServerException(problem);
        _writer.Start();
        _pump.Start();
        return Task.CompletedTask;
    }

    private static SpoolName Answered(SpoolName name, Action onAnswer)
    {
        onAnswer();
        return name;
    }

    public Task StopAsync(CancellationToken cancellationToken) => _pump.StopAsync(s_stopPatience);

    public void Dispose()
    {
        _writer.Dispose();
        _pump.Dispose();
        _sender.Dispose();
    }
}
