using StreamingDaemon.Testing;
using StreamingDaemon.Uring.Handoff;

namespace StreamingDaemon.Uring.Tests;

/// <summary>A server on a socket of its own, whose handler is a delegate.</summary>
internal sealed class RunningServer : IAsyncDisposable, IHandoffHandler
{
    private readonly TempDirectory _directory = new();
    private readonly Func<ClientStream, Task> _handle;

    private RunningServer(Func<ClientStream, Task> handle, Func<HandoffServerOptions, HandoffServerOptions>? with)
    {
        _handle = handle;
        SocketPath = _directory.File("s");
        var options = new HandoffServerOptions { SocketPath = SocketPath, RingEntries = 256 };
        Server = new HandoffServer(with?.Invoke(options) ?? options, this);
    }

    public string SocketPath { get; }

    public HandoffServer Server { get; }

    public List<HandoffRejection> Rejections { get; } = [];

    public List<Exception> Faults { get; } = [];

    /// <summary>May throw, as whoever has no memory does.</summary>
    public Action? OnFaultToo { get; set; }

    public static async Task<RunningServer> StartAsync(Func<ClientStream, Task> handle,
        Func<HandoffServerOptions, HandoffServerOptions>? with = null)
    {
        var server = new RunningServer(handle, with);
        await server.Server.StartAsync();
        return server;
    }

    public Task HandleAsync(ClientStream client) => _handle(client);

    public void OnFault(ClientStream client, Exception exception)
    {
        lock (Faults)
            Faults.Add(exception);
        OnFaultToo?.Invoke();
    }

    public void OnRejected(HandoffRejection reason, HandoffPeer peer)
    {
        lock (Rejections)
            Rejections.Add(reason);
    }

    public async ValueTask DisposeAsync()
    {
        Server.Stop();
        await Server.Completion.WaitAsync(TestClient.Patience);
        _directory.Dispose();
    }
}
