namespace StreamingDaemon.ChatPageTests;

/// <summary>One site of each kind for the whole run.</summary>
public sealed class SharedSites : IAsyncDisposable
{
    private readonly Dictionary<Front, ChatSite> _running = [];

    public static TheoryData<Front> Both => [Front.Apache, Front.Demo];

    public async ValueTask DisposeAsync()
    {
        foreach (var site in _running.Values)
            await site.DisposeAsync();
    }

    internal async Task<ChatSite> GetAsync(Front front) => _running.TryGetValue(front, out var site)
        ? site
        : _running[front] = await ChatSite.StartAsync(front);
}
