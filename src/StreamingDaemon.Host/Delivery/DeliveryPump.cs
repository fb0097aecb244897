using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Telemetry;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>
/// Sends what is in the spool, until the receiver has it or will never take it. One thread decides what is
/// sent when, and reads the directory; the sends themselves run on the thread pool. Of all processes with
/// this spool, one sends; another one takes over when it ends.
/// </summary>
internal sealed class DeliveryPump : IDisposable
{
    /// <summary>Most names in memory, some 300 bytes each.</summary>
    private const int Capacity = 20_000;

    private readonly object _gate = new();
    private readonly DeliveryQueue _queue = new(Capacity);
    private readonly DeliveryBackoff _backoff = new(Random.Shared);
    private readonly CancellationTokenSource _cancelled = new();
    private readonly DeliverySpool _spool;
    private readonly DeliverySender _sender;
    private readonly ReloadableOptions _options;
    private readonly DeliveryMetrics _metrics;
    private readonly DeliveryLog _log;
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly SpoolScanner _scanner;
    private readonly DeadLetters _dead;
    private readonly ArrivedDeliveries _arrived;
    private int _inFlight;
    private bool _stopping;

    public DeliveryPump(DeliverySpool spool, DeliverySender sender, ReloadableOptions options,
        DeliveryMetrics metrics, DeliveryLog log)
    {
        (_spool, _sender, _options, _metrics, _log) = (spool, sender, options, metrics, log);
        _dead = new DeadLetters(spool, options, metrics, log);
        _arrived = new ArrivedDeliveries(spool, log);
        _scanner = new SpoolScanner(spool, _queue, _backoff, _gate, _dead, _arrived, log);
        metrics.Observe(Look);
    }

    /// <summary>Starts the thread.</summary>
    /// <exception cref="HandoffServerException">The system refuses it.</exception>
    public void Start() => PreparedThread.Start("deliveries", Run);

    /// <summary>A delivery was written by this process.</summary>
    public void Add(SpoolName name)
    {
        lock (_gate)
        {
            if (_scanner.TryAdd(name))
            {
                Monitor.Pulse(_gate);
                return;
            }
        }

        _spool.Touch();
    }

    /// <summary>Begins no send any more, and gives those in flight a moment. What is left waits for the next
    /// start.</summary>
    public async Task StopAsync(TimeSpan patience)
    {
        lock (_gate)
        {
            _stopping = true;
            Monitor.Pulse(_gate);
        }

        if (await Task.WhenAny(_ended.Task, Task.Delay(patience)).ConfigureAwait(false) == _ended.Task)
            return;
        await _cancelled.CancelAsync().ConfigureAwait(false);
        await Task.WhenAny(_ended.Task, Task.Delay(patience)).ConfigureAwait(false);
    }

    public void Dispose() => _cancelled.Dispose();

    private (int Count, DateTimeOffset? Oldest, bool IsSender) Look()
    {
        lock (_gate)
            return (_queue.Count, _queue.Oldest, _scanner.IsSender);
    }

    private void Run()
    {
        var isGoingOn = true;
        while (isGoingOn)
        {
            try
            {
                isGoingOn = Turn();
            }
            catch (OutOfMemoryException)
            {
                OutOfMemory.Survive();
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                _log.SpoolUnreadable(_spool.Directory, e.Message);
                Pause(SpoolWatch.UnreadableMs);
            }
        }

        _scanner.Dispose();
        _ended.TrySetResult();
    }

    /// <returns>False once the pump has stopped.</returns>
    private bool Turn()
    {
        if (!_scanner.TryBecomeSender())
            return Pause(SpoolWatch.LookMs);
        _scanner.ScanIfNeeded();
        QueuedDelivery? next;
        lock (_gate)
        {
            if (_stopping)
            {
                if (_inFlight > 0)
                    Monitor.Wait(_gate);
                return _inFlight > 0;
            }

            if (_queue.HasNew)
                return true;
            next = TakeLocked(out var waitMs);
            if (next is null)
                Monitor.Wait(_gate, waitMs);
            else
                _inFlight++;
        }

        if (next is not null)
            _ = SendAsync(next);
        return true;
    }

    /// <returns>False once the pump stops.</returns>
    private bool Pause(int milliseconds)
    {
        lock (_gate)
        {
            if (!_stopping)
                Monitor.Wait(_gate, milliseconds);
            return !_stopping || _inFlight > 0;
        }
    }

    private QueuedDelivery? TakeLocked(out int waitMs)
    {
        var now = Environment.TickCount64;
        waitMs = SpoolWatch.LookMs;
        var most = _backoff.IsPaused ? 1 : _options.Current.Delivery.Concurrency;
        if (_inFlight >= most)
            return null;
        if (_backoff.PauseLeftMs(now) is > 0 and var pause)
        {
            waitMs = Math.Min(waitMs, pause);
            return null;
        }

        var next = _queue.TryTake(now, out var dueMs);
        if (dueMs >= 0)
            waitMs = Math.Clamp(dueMs, 1, SpoolWatch.LookMs);
        return next;
    }

    private async Task SendAsync(QueuedDelivery delivery)
    {
        try
        {
            Settle(delivery, await _sender.SendAsync(delivery.Name, _cancelled.Token).ConfigureAwait(false));
        }
        finally
        {
            lock (_gate)
            {
                _inFlight--;
                Monitor.Pulse(_gate);
            }
        }
    }

    private void Settle(QueuedDelivery delivery, in DeliveryResult result)
    {
        var name = delivery.Name;
        // An operator may have dropped it meanwhile: nothing is noted about it then.
        var isGone = result.Verdict is not (DeliveryVerdict.Delivered or DeliveryVerdict.Cancelled)
            && _spool.IsGone(name);
        switch (isGone ? DeliveryVerdict.Gone : result.Verdict)
        {
            case DeliveryVerdict.Delivered:
                _arrived.Remove(name);
                _metrics.OnDelivered();
                Done(delivery, isAnswered: true);
                break;
            case DeliveryVerdict.Refused or DeliveryVerdict.Expired or DeliveryVerdict.Torn
                when _spool.TryMoveToDead(name, result.Reason):
                _dead.Add(name.Id, result.Reason);
                Done(delivery, isAnswered: result.Verdict == DeliveryVerdict.Refused);
                break;
            case DeliveryVerdict.Gone:
                _spool.ForgetAttempts(name);
                Done(delivery, isAnswered: false);
                break;
            case DeliveryVerdict.Cancelled:
                break;
            default:
                _spool.NoteFailure(name, result.Reason);
                Retry(delivery, result);
                break;
        }
    }

    private void Done(QueuedDelivery delivery, bool isAnswered)
    {
        bool isBack;
        lock (_gate)
        {
            _queue.Done(delivery);
            isBack = isAnswered && _backoff.EndPause();
        }

        if (isBack)
            _log.ReceiverIsBack();
    }

    private void Retry(QueuedDelivery delivery, in DeliveryResult result)
    {
        _metrics.OnFailed();
        TimeSpan wait;
        lock (_gate)
        {
            var now = Environment.TickCount64;
            wait = _backoff.After(++delivery.Attempts, result, now);
            _queue.Retry(delivery, now + (long)wait.TotalMilliseconds);
        }

        _log.Failed(delivery.Name.Id, result.Reason, wait);
    }
}
