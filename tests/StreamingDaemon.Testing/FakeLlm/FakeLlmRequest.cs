using Microsoft.AspNetCore.Http;

namespace StreamingDaemon.Testing;

/// <summary>One chat completion request, as the fake upstream received it.</summary>
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
        Query = context.Request.QueryString.Value ?? "";
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

    /// <summary>The query as sent, with its question mark; empty if there is none.</summary>
    public string Query { get; }

    /// <summary>Kestrel's id of the connection: the same for all requests on it.</summary>
    public string ConnectionId { get; }

    /// <summary>Request headers, names case-insensitive.</summary>
    public IReadOnlyDictionary<string, string> Headers { get; }

    /// <summary>The request's body.</summary>
    public string Body { get; }

    /// <summary>Completes when the caller resets the stream or closes the connection before the
    /// end.</summary>
    public Task Aborted => _aborted.Task;

    /// <summary>Completes when the scenario has ended, also after a failure.</summary>
    public Task Ended => _ended.Task;

    internal Task Proceeding => _proceed.Task;

    /// <summary>Triggers a fault that waits until the data before it was received.</summary>
    public void Proceed() => _proceed.TrySetResult();

    internal void OnEnded() => _ended.TrySetResult();
}
