namespace StreamingDaemon.ChatPageTests;

/// <summary>One site of each kind for the whole run.</summary>
public sealed class SharedSites : IAsyncDisposable
{
    private readonly Dictionary<Front, ChatSite> _running = [];

    public static TheoryData<Front> Both => [Front.Apache, Front.Demo];

    /// <summary>Also with TLS that ends in front of httpd: what is true of streams has to stay so.</summary>
    public static TheoryData<Front> All => [.. Both, Front.Tls];

    public async ValueTask DisposeAsync()
    {
        foreach (var site in _running.Values)
            await site.DisposeAsync();
    }

    internal async Task<ChatSite> GetAsync(Front front) => _running.TryGetValue(front, out var site)
        ? site
        : _running[front] = await ChatSite.StartAsync(front);
}
