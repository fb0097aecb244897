using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Tests.Configuration;

namespace StreamingDaemon.Host.Tests.Cli;

/// <summary>Records the calls that it gets.</summary>
internal sealed class FakeActions : ICliActions
{
    public string? Called { get; private set; }
    public DaemonOptions? Options { get; private set; }
    public Func<CancellationToken, Task<int>> Answer { get; set; } = _ => Task.FromResult(0);

    public Task<int> RunAsync(
        DaemonOptions options, Func<DaemonOptions> reread, CancellationToken cancellationToken) =>
        Note("run", options, cancellationToken);

    public Task<int> CheckAsync(DaemonOptions options, bool json, bool upstream, string? apache,
        CancellationToken cancellationToken) =>
        Note($"check json={json}" + (upstream ? " upstream" : "") + (apache is null ? "" : $" apache={apache}"),
            options, cancellationToken);

    public Task<int> HealthAsync(DaemonOptions options, bool json, CancellationToken cancellationToken) =>
        Note($"health json={json}", options, cancellationToken);

    public Task<int> DemoAsync(
        DaemonOptions options, int port, bool once, CancellationToken cancellationToken) =>
        Note($"demo port={port} once={once}", options, cancellationToken);

    public Task<int> DeliveriesAsync(DaemonOptions options, DeliveriesAct act, string? id, bool json,
        CancellationToken cancellationToken) =>
        Note($"deliveries {act} {id ?? "all"} json={json}", options, cancellationToken);

    public Task<int> SendAsync(
        string socket, string? prompt, string? data, int timeoutS, CancellationToken cancellationToken) =>
        Note($"send socket={socket} prompt={prompt ?? "-"} data={data ?? "-"} timeout={timeoutS}", null,
            cancellationToken);

    private Task<int> Note(string called, DaemonOptions? options, CancellationToken cancel = default)
    {
        Called = called;
        Options = options;
        return Answer(cancel);
    }
}

/// <summary>One invocation: its exit code and what it wrote.</summary>
internal sealed class Invocation
{
    public FakeActions Actions { get; } = new();
    public string Output { get; private set; } = "";
    public string Error { get; private set; } = "";

    public async Task<int> RunAsync(Sandbox sandbox, params string[] args)
    {
        var output = new StringWriter();
        var error = new StringWriter();
        var surroundings = new CliSurroundings { Output = output, Error = error, Sources = sandbox.Sources };
        var code = await CommandLine.InvokeAsync(args, Actions, surroundings, CancellationToken.None);
        Output = output.ToString();
        Error = error.ToString();
        return code;
    }
}
