using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A model that says words, waits, and says more.</summary>
internal sealed class PausedUpstream : IAsyncDisposable
{
    private static readonly TimeSpan s_limit = TimeSpan.FromSeconds(20);
    private readonly TaskCompletionSource _goOn = new();
    private int _calls;

    private PausedUpstream(FakeLlmServer server, string[] before, string[] after)
    {
        Server = server;
        server.Scenario = async exchange =>
        {
            Interlocked.Increment(ref _calls);
            await exchange.StartAsync();
            foreach (var word in before)
                await exchange.SendDeltaAsync(word);
            await _goOn.Task.WaitAsync(s_limit);
            foreach (var word in after)
                await exchange.SendDeltaAsync(word);
            await exchange.SendFinishAsync();
            await exchange.SendDoneAsync();
        };
    }

    public FakeLlmServer Server { get; }

    public int Calls => _calls;

    /// <summary>It says "one" and "two", waits, and says "three".</summary>
    public static Task<PausedUpstream> StartAsync() => StartAsync(["one", "two"], ["three"]);

    public static async Task<PausedUpstream> StartAsync(string[] before, string[] after) =>
        new(await FakeLlmServer.StartAsync(), before, after);

    public void GoOn() => _goOn.TrySetResult();

    public ValueTask DisposeAsync() => Server.DisposeAsync();
}
