using System.Threading.RateLimiting;
using StreamingDaemon.Backends.Upstream;
using StreamingDaemon.Host.Configuration;

namespace StreamingDaemon.Host.Limits;

/// <summary>
/// <c>[rate_limit]</c>: how many streams each user may begin in a window, and how many may run at once. A
/// user without a stream is forgotten some ten seconds after the window. Handoffs that name no user are not
/// limited: they would all be one user.
/// </summary>
internal sealed class UserLimits : IDisposable
{
    /// <summary>When one of a user's own streams will have ended is not known.</summary>
    private const int RetryAfterConcurrentS = 5;

    /// <summary>Times that a user may be forgotten in the moment of asking.</summary>
    private const int MostTries = 3;

    private readonly Func<PartitionedRateLimiter<long>, PartitionedRateLimiter<long>> _around;
    private Limiters? _limiters;

    public UserLimits(DaemonOptions options)
        : this(options, static limiter => limiter)
    {
    }

    /// <param name="options">Has the limits.</param>
    /// <param name="around">Stands between this and each of the library's limiters, for tests.</param>
    internal UserLimits(DaemonOptions options,
        Func<PartitionedRateLimiter<long>, PartitionedRateLimiter<long>> around)
    {
        _around = around;
        Apply(options.RateLimit);
    }

    /// <summary>Takes other limits; if they differ, every user begins anew. By one thread at a
    /// time.</summary>
    public void Apply(RateLimitOptions options)
    {
        if (options == _limiters?.Options)
            return;
        var isOff = options is { Requests: 0, ConcurrentStreams: 0 };
        Interlocked.Exchange(ref _limiters, isOff ? null : new Limiters(options, _around))?.Dispose();
    }

    /// <summary>Asks for one stream. The permit is to be disposed when the stream ends.</summary>
    public UserPermit Enter(long? userId)
    {
        for (var tries = 1; userId is { } user && Volatile.Read(ref _limiters) is { } limiters;)
        {
            try
            {
                return limiters.Enter(user);
            }
            catch (ObjectDisposedException) when (limiters != Volatile.Read(ref _limiters))
            {
                // Other limits came in this very moment.
            }
            catch (ObjectDisposedException) when (tries++ < MostTries)
            {
                // The library looks a user's limiter up under its lock, asks it without, and forgets those
                // that are idle on a timer in between. Asked again, it makes a new one.
            }
            catch (ObjectDisposedException)
            {
                // Who is idle that often is over no limit.
                return default;
            }
        }

        return default;
    }

    public void Dispose() => Interlocked.Exchange(ref _limiters, null)?.Dispose();

    private sealed class Limiters(RateLimitOptions options,
        Func<PartitionedRateLimiter<long>, PartitionedRateLimiter<long>> around) : IDisposable
    {
        /// <summary>The window moves by a sixth of itself: nobody has two windows' worth around its
        /// border.</summary>
        private const int Segments = 6;

        private readonly PartitionedRateLimiter<long>? _concurrent = options.ConcurrentStreams == 0
            ? null
            : around(PartitionedRateLimiter.Create<long, long>(
                user => RateLimitPartition.GetConcurrencyLimiter(
                    user, _ => new ConcurrencyLimiterOptions { PermitLimit = options.ConcurrentStreams })));

        private readonly PartitionedRateLimiter<long>? _window = options.Requests == 0
            ? null
            : around(PartitionedRateLimiter.Create<long, long>(
                user => RateLimitPartition.GetSlidingWindowLimiter(
                    user, _ => new SlidingWindowRateLimiterOptions
                    {
                        PermitLimit = options.Requests,
                        Window = TimeSpan.FromSeconds(options.WindowS),
                        SegmentsPerWindow = Segments,
                    })));

        public RateLimitOptions Options => options;

        public UserPermit Enter(long userId)
        {
            // First what runs: a stream that is refused for it is no request of the window.
            var running = _concurrent?.AttemptAcquire(userId);
            if (running is { IsAcquired: false })
                return UserPermit.Refused(running, RetryAfterConcurrentS);
            RateLimitLease? begun;
            try
            {
                begun = _window?.AttemptAcquire(userId);
            }
            catch
            {
                running?.Dispose();
                throw;
            }

            if (begun is null or { IsAcquired: true })
                return new UserPermit(running);
            running?.Dispose();
            return UserPermit.Refused(begun, options.WindowS);
        }

        public void Dispose()
        {
            _concurrent?.Dispose();
            _window?.Dispose();
        }
    }
}

/// <summary>A user's leave to begin a stream, or when to ask again.</summary>
/// <param name="lease">What counts the stream as running, or null.</param>
/// <param name="retryAfterSeconds">0 if leave is given.</param>
internal readonly struct UserPermit(RateLimitLease? lease, int retryAfterSeconds = 0) : IDisposable
{
    /// <summary>Seconds after which asking again may help, or null if leave is given.</summary>
    public int? RetryAfterSeconds => retryAfterSeconds == 0 ? null : retryAfterSeconds;

    public static UserPermit Refused(RateLimitLease lease, int otherwise)
    {
        var seconds = lease.TryGetMetadata(MetadataName.RetryAfter, out var wait)
            ? Math.Max(1, (int)Math.Ceiling(wait.TotalSeconds))
            : otherwise;
        lease.Dispose();
        return new UserPermit(null, seconds);
    }

    /// <summary>The stream has ended.</summary>
    public void Dispose() => lease?.Dispose();
}
