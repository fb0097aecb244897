using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace StreamingDaemon.Testing;

/// <summary>One request and the answer that a scenario writes. Each write is flushed at once.</summary>
public sealed class FakeLlmExchange
{
    private readonly HttpResponse _response;

    internal FakeLlmExchange(HttpContext context, FakeLlmRequest request, int chunkDelayMs)
    {
        Context = context;
        Request = request;
        ChunkDelayMs = chunkDelayMs;
        _response = context.Response;
    }

    /// <summary>Kestrel's context, for anything that the methods below do not offer.</summary>
    public HttpContext Context { get; }

    /// <summary>The request.</summary>
    public FakeLlmRequest Request { get; }

    /// <summary>Milliseconds between the chunks of the built-in scenarios.</summary>
    public int ChunkDelayMs { get; }

    /// <summary>Completes with <see cref="FakeLlmRequest.Proceed"/>. A fault waits for it if it must not
    /// overtake the data sent before it.</summary>
    public Task Proceed => Request.Proceeding;

    /// <summary>Sends the head.</summary>
    public async Task StartAsync(int status = 200, string? contentType = "text/event-stream")
    {
        _response.StatusCode = status;
        _response.ContentType = contentType;
        await _response.StartAsync(Context.RequestAborted);
        // Kestrel holds the head back until the first body byte.
        await _response.Body.FlushAsync(Context.RequestAborted);
    }

    /// <summary>Sends text unchanged.</summary>
    public Task SendRawAsync(string text) => SendRawAsync(Encoding.UTF8.GetBytes(text));

    /// <summary>Sends bytes unchanged.</summary>
    public async Task SendRawAsync(ReadOnlyMemory<byte> bytes)
    {
        await _response.Body.WriteAsync(bytes, Context.RequestAborted);
        await _response.Body.FlushAsync(Context.RequestAborted);
    }

    /// <summary>Sends one chunk with text.</summary>
    public Task SendDeltaAsync(string content) => SendDeltaAsync("content", content);

    /// <summary>Sends one chunk with reasoning, in the field that most servers use.</summary>
    public Task SendReasoningAsync(string reasoning) => SendDeltaAsync("reasoning_content", reasoning);

    /// <summary>Sends one chunk with any delta: a JSON object.</summary>
    public Task SendChunkAsync(string delta) => SendRawAsync(Chunk(delta, "null"));

    /// <summary>Sends the chunk with the finish reason.</summary>
    public Task SendFinishAsync(string reason = "stop") => SendRawAsync(Chunk("{}", "\"" + reason + "\""));

    /// <summary>Sends the end marker.</summary>
    public Task SendDoneAsync() => SendRawAsync("data: [DONE]\n\n");

    private Task SendDeltaAsync(string field, string text)
    {
        var escaped = JsonEncodedText.Encode(text, JavaScriptEncoder.UnsafeRelaxedJsonEscaping);
        return SendChunkAsync("{\"" + field + "\":\"" + escaped + "\"}");
    }

    /// <summary>Answers with a status, a content type and a body.</summary>
    public async Task RespondAsync(int status, string contentType, string body)
    {
        await StartAsync(status, contentType);
        await SendRawAsync(body);
    }

    /// <summary>Resets the connection (HTTP/1.1) or the stream (HTTP/2).</summary>
    public void Reset() => Context.Abort();

    /// <summary>Resets the HTTP/2 stream with an error code (RFC 9113, section 7).</summary>
    public void ResetStream(int errorCode) => Context.Features.GetRequiredFeature<IHttpResetFeature>().Reset(errorCode);

    /// <summary>Ends the connection after its current streams: GOAWAY, or <c>Connection: close</c>.</summary>
    public void GoAway() =>
        Context.Features.GetRequiredFeature<IConnectionLifetimeNotificationFeature>().RequestClose();

    /// <summary>Resets the whole connection, with all its streams.</summary>
    public void AbortConnection() =>
        ((ConnectionContext)Context.Features.GetRequiredFeature<IConnectionItemsFeature>()
            .Items[typeof(ConnectionContext)]!).Abort();

    /// <summary>Waits until the caller has left.</summary>
    public async Task WaitForAbortAsync(TimeSpan limit) => await Request.Aborted.WaitAsync(limit);

    private static string Chunk(string delta, string finishReason) =>
        "data: {\"id\":\"chatcmpl-mock\",\"object\":\"chat.completion.chunk\",\"created\":0,"
        + "\"model\":\"mock\",\"choices\":[{\"index\":0,\"delta\":" + delta
        + ",\"finish_reason\":" + finishReason + "}]}\n\n";
}
