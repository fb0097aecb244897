using System.Threading.RateLimiting;
using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Limits;

/// <summary>
/// <c>[rate_limit]</c>: how many streams each user may begin in a window, and how many may run at once. About
/// ten seconds after the window, a user without streams is forgotten. Handoffs that name no user count as one
/// user: otherwise, leaving the user out would avoid the limit.
/// </summary>
internal sealed class UserLimits : IDisposable
{
    /// <summary>Attempts, if the library forgets the user just while its limiter is asked.</summary>
    private const int MostTries = 3;

    private readonly Func<PartitionedRateLimiter<UserId>, PartitionedRateLimiter<UserId>> _around;
    private Limiters? _limiters;

    public UserLimits(DaemonOptions options)
        : this(options, static limiter => limiter)
    {
    }

    /// <param name="options">Holds the limits.</param>
    /// <param name="around">For tests: wraps each of the library's limiters.</param>
    internal UserLimits(DaemonOptions options,
        Func<PartitionedRateLimiter<UserId>, PartitionedRateLimiter<UserId>> around)
    {
        _around = around;
        Apply(options.RateLimit);
    }

    /// <summary>Sets new limits. If they differ from the old ones, every user's count starts again. One
    /// thread at a time.</summary>
    public void Apply(RateLimitOptions options)
    {
        if (options == _limiters?.Options)
            return;
        var isOff = options is { Requests: 0, ConcurrentStreams: 0 };
        Interlocked.Exchange(ref _limiters, isOff ? null : new Limiters(options, _around))?.Dispose();
    }

    /// <summary>Asks for one stream. Dispose the permit when the stream ends.</summary>
    /// <param name="user">No user counts as one too.</param>
    public UserPermit Enter(UserId user)
    {
        for (var tries = 1; Volatile.Read(ref _limiters) is { } limiters;)
        {
            try
            {
                return limiters.Enter(user);
            }
            catch (ObjectDisposedException) when (limiters != Volatile.Read(ref _limiters))
            {
                // Apply() replaced the limits meanwhile.
            }
            catch (ObjectDisposedException) when (tries++ < MostTries)
            {
                // The library finds a user's limiter under its lock, but asks it without the lock. In
                // between, its timer may dispose an idle limiter. The next attempt makes a new one.
            }
            catch (ObjectDisposedException)
            {
                // A user whose limiter is idle every time is over no limit.
                return default;
            }
        }

        return default;
    }

    public void Dispose() => Interlocked.Exchange(ref _limiters, null)?.Dispose();

    private sealed class Limiters(RateLimitOptions options,
        Func<PartitionedRateLimiter<UserId>, PartitionedRateLimiter<UserId>> around) : IDisposable
    {
        private readonly PartitionedRateLimiter<UserId>? _concurrent = options.ConcurrentStreams == 0
            ? null
            : around(PartitionedRateLimiter.Create<UserId, UserId>(
                user => RateLimitPartition.GetConcurrencyLimiter(
                    user, _ => new ConcurrencyLimiterOptions { PermitLimit = options.ConcurrentStreams })));

        private readonly PartitionedRateLimiter<UserId>? _window = options.Requests == 0
            ? null
            : around(PartitionedRateLimiter.Create<UserId, UserId>(
                user => RateLimitPartition.Get(user, _ => (RateLimiter)new UserWindow(
                    options.Requests, TimeSpan.FromSeconds(options.WindowS), TimeProvider.System))));

        public RateLimitOptions Options => options;

        public UserPermit Enter(UserId user)
        {
            // Running streams first: a stream refused for them does not count in the window.
            var running = _concurrent?.AttemptAcquire(user);
            if (running is { IsAcquired: false })
            {
                running.Dispose();
                return UserPermit.RefusedForConcurrency;
            }

            RateLimitLease? begun;
            try
            {
                begun = _window?.AttemptAcquire(user);
            }
            catch
            {
                running?.Dispose();
                throw;
            }

            if (begun is null or { IsAcquired: true })
                return new UserPermit(running);
            running?.Dispose();
            var left = begun.TryGetMetadata(MetadataName.RetryAfter, out var wait)
                ? wait
                : TimeSpan.FromSeconds(options.WindowS);
            begun.Dispose();
            return UserPermit.RefusedForWindow(Math.Max(1, (int)Math.Ceiling(left.TotalSeconds)));
        }

        public void Dispose()
        {
            _concurrent?.Dispose();
            _window?.Dispose();
        }
    }
}

/// <summary>Permits a user's stream, or refuses it.</summary>
/// <param name="Lease">Counts the stream as running until it is disposed; null if nothing is
/// counted.</param>
internal readonly record struct UserPermit(RateLimitLease? Lease) : IDisposable
{
    /// <summary>The user has too many streams at once. Nobody knows when one of them ends.</summary>
    public static UserPermit RefusedForConcurrency => new(null) { IsRefused = true };

    /// <summary>The stream is refused.</summary>
    public bool IsRefused { get; private init; }

    /// <summary>For a refusal: after this many seconds the user may begin a stream; null if nobody
    /// knows.</summary>
    public int? RetryAfterSeconds { get; private init; }

    /// <summary>The user began too many streams in its window. After these seconds there is room for
    /// one.</summary>
    public static UserPermit RefusedForWindow(int seconds) =>
        new(null) { IsRefused = true, RetryAfterSeconds = seconds };

    /// <summary>Call it when the stream has ended.</summary>
    public void Dispose() => Lease?.Dispose();
}
