using System.Diagnostics.CodeAnalysis;
using System.Net.Security;
using System.Security.Cryptography.X509Certificates;
using StackExchange.Redis;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>
/// The connection to Redis. After one failed command it counts as down, and commands fail at once until it
/// answers a probe: a handoff must not wait for a store that is gone. One that answers and refuses is still
/// asked: what it takes no more of may be there to read.
/// </summary>
internal sealed class RedisConnection : IAsyncDisposable
{
    private const int TimeoutMs = 1_000;

    private const string Anything = "Whatever the library throws, the next try follows. A connection that is "
        + "cut inside a write is an InvalidOperationException of its pipe.";

    private static readonly TimeSpan s_betweenProbes = TimeSpan.FromMilliseconds(500);

    /// <summary>Without a write for this long, one is tried: an operator must know of a store that takes none
    /// before an answer needs it.</summary>
    private static readonly TimeSpan s_idle = TimeSpan.FromSeconds(5);

    /// <summary>While it is down, its reason is looked for this often (ms): it may change.</summary>
    private const int DiagnoseEveryMs = 5_000;

    /// <summary>Of no user, so of no answer. One hash slot, as an answer's.</summary>
    private readonly RedisKey[] _probeKeys;

    private readonly ConfigurationOptions _options;
    private readonly AnswerOptions _answers;
    private readonly AnswerReports _reports;
    private readonly CancellationTokenSource _stop = new();
    private IDatabase? _database;
    private ConnectionMultiplexer? _connection;
    private readonly TaskCompletionSource _wasUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isUp;
    private bool _isRefused;
    private bool _isProbing;
    private string? _problem;
    private long _nextDiagnosisMs;
    private long _lastWriteMs = -(long)s_idle.TotalMilliseconds;

    /// <exception cref="IOException">A file of the options cannot be used.</exception>
    public RedisConnection(AnswerOptions options, AnswerReports reports)
    {
        (_answers, _reports) = (options, reports);
        var probe = $"streaming-daemon:{{probe:{Guid.NewGuid():N}}}";
        _probeKeys = [probe + ":lease", probe + ":events"];
        _options = new ConfigurationOptions
        {
            Ssl = options.RedisTls,
            AbortOnConnectFail = false,
            BacklogPolicy = BacklogPolicy.FailFast,
            ConnectTimeout = TimeoutMs,
            AsyncTimeout = TimeoutMs,
            SyncTimeout = TimeoutMs,
            HeartbeatInterval = TimeSpan.FromSeconds(1),
            ReconnectRetryPolicy = new LinearRetry((int)s_betweenProbes.TotalMilliseconds),
            ClientName = "streaming-daemon",
            Defaults = new RedisPassword(options),
        };
        if (options.RedisTls && options.RedisCaFile is not null)
        {
            // A new one for each connection: the library adds the host to it.
            var last = AuthorityFile.Read(RedisDiagnosis.CaOption, options.RedisCaFile);
            var file = new RepeatedRead<X509Certificate2Collection>(
                () => AuthorityFile.Read(RedisDiagnosis.CaOption, options.RedisCaFile));
            _options.SslClientAuthenticationOptions = host =>
            {
                var tls = new SslClientAuthenticationOptions { TargetHost = host };
                // If the file cannot be read at the moment, its last certificates are used.
                TrustedAuthorities.Set(tls, last = file.Read() ?? last);
                return tls;
            };
        }

        _options.EndPoints.Add(options.Redis);
        _ = ConnectAsync();
    }

    /// <summary>Waits until Redis has answered once.</summary>
    public async Task ReadyAsync(TimeSpan patience) => await Task.WhenAny(
        _wasUp.Task, Task.Delay(patience)).ConfigureAwait(false);

    /// <summary>It answers.</summary>
    public bool IsUp => Volatile.Read(ref _isUp);

    public SharedHealth Health => !IsUp ? SharedHealth.Unavailable
        : Volatile.Read(ref _isRefused) ? SharedHealth.Refuses : SharedHealth.Ok;

    /// <summary>Why it cannot be used; null if it can.</summary>
    public string? Problem => Health == SharedHealth.Ok ? null : Volatile.Read(ref _problem);

    /// <summary>Runs a script.</summary>
    /// <returns>Null if Redis does not answer, or refuses.</returns>
    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    public async Task<RedisResult?> RunAsync(string script, RedisKey[] keys, RedisValue[] values)
    {
        if (!IsUp || _database is not { } database)
            return null;
        try
        {
            var result = await database.ScriptEvaluateAsync(script, keys, values).ConfigureAwait(false);
            if (!ReferenceEquals(script, RedisScripts.Read))
                Volatile.Write(ref _lastWriteMs, Environment.TickCount64);
            return result;
        }
        catch (RedisServerException e)
        {
            // It answers: with NOPERM, OOM, MISCONF and the like. To all, or for this answer only?
            _reports.SharedRefuses(e.Message);
            Probe();
            return null;
        }
        catch (Exception e)
        {
            Volatile.Write(ref _isUp, false);
            Probe(e);
            return null;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync().ConfigureAwait(false);
        if (_connection is { } connection)
            await connection.DisposeAsync().ConfigureAwait(false);
        _stop.Dispose();
    }

    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    private async Task ConnectAsync()
    {
        while (_database is null && !_stop.IsCancellationRequested)
        {
            try
            {
                _connection = await ConnectionMultiplexer.ConnectAsync(_options).ConfigureAwait(false);
                _database = _connection.GetDatabase();
            }
            catch (Exception e)
            {
                await OnDownAsync(e).ConfigureAwait(false);
                await Task.Delay(s_betweenProbes, CancellationToken.None).ConfigureAwait(false);
            }
        }

        while (!_stop.IsCancellationRequested)
        {
            if (Environment.TickCount64 - Volatile.Read(ref _lastWriteMs) >= s_idle.TotalMilliseconds)
                Probe();
            await Task.Delay(s_idle, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    private async Task OnDownAsync(Exception reason)
    {
        Volatile.Write(ref _isUp, false);
        var now = Environment.TickCount64;
        if (now < _nextDiagnosisMs)
            return;
        string? problem;
        try
        {
            problem = await RedisDiagnosis.ProblemAsync(_answers).ConfigureAwait(false);
        }
        catch (Exception e)
        {
            problem = e.GetType().Name;
        }

        // It may answer by now: then the library knows best what it was.
        problem ??= reason is RedisConnectionException connection
            ? connection.FailureType.ToString() : reason.GetType().Name;
        _nextDiagnosisMs = now + DiagnoseEveryMs;
        _reports.SharedIsDown(problem);
        Volatile.Write(ref _problem, problem);
    }

    private void Probe(Exception? reason = null)
    {
        if (!Interlocked.Exchange(ref _isProbing, true))
            _ = ProbeAsync(reason);
    }

    /// <summary>Asks until Redis takes what an answer needs.</summary>
    /// <param name="reason">How a command failed because Redis did not answer, or null.</param>
    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    private async Task ProbeAsync(Exception? reason)
    {
        if (reason is not null)
            await OnDownAsync(reason).ConfigureAwait(false);
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await _database!.ScriptEvaluateAsync(RedisScripts.Probe, _probeKeys).ConfigureAwait(false);
                Volatile.Write(ref _lastWriteMs, Environment.TickCount64);
                _nextDiagnosisMs = 0;
                // The log first: who sees the state finds the reason.
                _reports.SharedIsUp();
                Volatile.Write(ref _isRefused, false);
                OnAnswer();
                break;
            }
            catch (RedisServerException e)
            {
                _nextDiagnosisMs = 0;
                _reports.SharedRefuses(e.Message);
                Volatile.Write(ref _problem, RedisRefusal.Of(e.Message).Text);
                Volatile.Write(ref _isRefused, true);
                OnAnswer();
            }
            catch (Exception e)
            {
                await OnDownAsync(e).ConfigureAwait(false);
            }

            await Task.Delay(s_betweenProbes, CancellationToken.None).ConfigureAwait(false);
        }

        Volatile.Write(ref _isProbing, false);
    }

    private void OnAnswer()
    {
        Volatile.Write(ref _isUp, true);
        _wasUp.TrySetResult();
    }
}
