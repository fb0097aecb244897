using Microsoft.AspNetCore.Http;

namespace StreamingDaemon.Testing;

/// <summary>One chat completion request as the fake upstream saw it.</summary>
public sealed class FakeLlmRequest
{
    private readonly TaskCompletionSource _aborted = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly TaskCompletionSource _proceed =
        new(TaskCreationOptions.RunContinuationsAsynchronously);

    internal FakeLlmRequest(HttpContext context, string body)
    {
        Protocol = context.Request.Protocol;
        Path = context.Request.Path.Value ?? "";
        ConnectionId = context.Connection.Id;
        Headers = context.Request.Headers.ToDictionary(
            header => header.Key, header => header.Value.ToString(), StringComparer.OrdinalIgnoreCase);
        Body = body;
        context.RequestAborted.Register(() => _aborted.TrySetResult());
    }

    /// <summary><c>HTTP/1.1</c> or <c>HTTP/2</c>.</summary>
    public string Protocol { get; }

    /// <summary>The path as sent.</summary>
    public string Path { get; }

    /// <summary>Kestrel's name of the connection: equal for requests that shared one.</summary>
    public string ConnectionId { get; }

    /// <summary>Request headers, names case-insensitive.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; }

    /// <summary>The request's body.</summary>
    public string Body { get; }

    /// <summary>Completes when the caller resets the stream or closes the connection before the
    /// end.</summary>
    public Task Aborted => _aborted.Task;

    /// <summary>Completes when the scenario has run to its end, whichever it was.</summary>
    public Task Ended => _ended.Task;

    internal Task Proceeding => _proceed.Task;

    /// <summary>Lets a fault happen that waits for what came before it to be received.</summary>
    public void Proceed() => _proceed.TrySetResult();

    internal void OnEnded() => _ended.TrySetResult();
}
