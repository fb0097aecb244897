using System.Diagnostics.CodeAnalysis;
using StackExchange.Redis;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Telemetry;

namespace StreamingDaemon.Host.Answers.Shared;

/// <summary>
/// The connection to Redis. After one failed command it counts as down, and commands fail at once until a
/// PING is answered: a handoff must not wait for a store that is gone.
/// </summary>
internal sealed class RedisConnection : IAsyncDisposable
{
    private const int TimeoutMs = 1_000;
    private const string CaOption = "answers.redis_ca_file";

    private const string Anything = "Whatever the library throws, the next try follows. A connection that is "
        + "cut inside a write is an InvalidOperationException of its pipe.";

    private static readonly TimeSpan s_betweenPings = TimeSpan.FromMilliseconds(500);

    private readonly ConfigurationOptions _options;
    private readonly AnswerReports _reports;
    private readonly CancellationTokenSource _stop = new();
    private IDatabase? _database;
    private ConnectionMultiplexer? _connection;
    private readonly TaskCompletionSource _wasUp = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _isUp;
    private bool _isPinging;

    /// <exception cref="IOException">A file of the options cannot be used.</exception>
    public RedisConnection(AnswerOptions options, AnswerReports reports)
    {
        _reports = reports;
        _options = new ConfigurationOptions
        {
            Ssl = options.RedisTls,
            AbortOnConnectFail = false,
            BacklogPolicy = BacklogPolicy.FailFast,
            ConnectTimeout = TimeoutMs,
            AsyncTimeout = TimeoutMs,
            SyncTimeout = TimeoutMs,
            HeartbeatInterval = TimeSpan.FromSeconds(1),
            ReconnectRetryPolicy = new LinearRetry((int)s_betweenPings.TotalMilliseconds),
            ClientName = "streaming-daemon",
            Defaults = new RedisPassword(options.RedisPasswordFile),
        };
        if (options.RedisTls && options.RedisCaFile is not null)
        {
            // A new one for each connection: the library adds the host to it.
            _ = AuthorityFile.Read(CaOption, options.RedisCaFile);
            _options.SslClientAuthenticationOptions = host =>
            {
                var tls = AuthorityFile.TlsOptions(CaOption, options.RedisCaFile);
                tls.TargetHost = host;
                return tls;
            };
        }

        _options.EndPoints.Add(options.Redis);
        _ = ConnectAsync();
    }

    /// <summary>Waits until Redis has answered once.</summary>
    public async Task ReadyAsync(TimeSpan patience) => await Task.WhenAny(
        _wasUp.Task, Task.Delay(patience)).ConfigureAwait(false);

    public bool IsUp => Volatile.Read(ref _isUp);

    /// <summary>Runs a script.</summary>
    /// <returns>Null if Redis does not answer, or refuses.</returns>
    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    public async Task<RedisResult?> RunAsync(string script, RedisKey[] keys, RedisValue[] values)
    {
        if (!IsUp || _database is not { } database)
            return null;
        try
        {
            return await database.ScriptEvaluateAsync(script, keys, values).ConfigureAwait(false);
        }
        catch (RedisServerException e)
        {
            // It answers: with NOPERM, OOM, MISCONF and the like, in the first word.
            _reports.SharedRefuses(e.Message.Split(' ', 2)[0]);
            return null;
        }
        catch (Exception e)
        {
            OnDown(e);
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
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                _connection = await ConnectionMultiplexer.ConnectAsync(_options).ConfigureAwait(false);
                _database = _connection.GetDatabase();
                await PingAsync().ConfigureAwait(false);
                return;
            }
            catch (Exception e)
            {
                _reports.SharedIsDown(e.GetType().Name);
                await Task.Delay(s_betweenPings, CancellationToken.None).ConfigureAwait(false);
            }
        }
    }

    private void OnDown(Exception reason)
    {
        Volatile.Write(ref _isUp, false);
        _reports.SharedIsDown(reason.GetType().Name);
        if (!Interlocked.Exchange(ref _isPinging, true))
            _ = PingAsync();
    }

    /// <summary>Asks until Redis answers.</summary>
    [SuppressMessage("Design", "CA1031", Justification = Anything)]
    private async Task PingAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await _database!.PingAsync().ConfigureAwait(false);
                break;
            }
            catch (Exception e)
            {
                _reports.SharedIsDown(e.GetType().Name);
            }

            await Task.Delay(s_betweenPings, CancellationToken.None).ConfigureAwait(false);
        }

        Volatile.Write(ref _isPinging, false);
        Volatile.Write(ref _isUp, true);
        _wasUp.TrySetResult();
        _reports.SharedIsUp();
    }
}
