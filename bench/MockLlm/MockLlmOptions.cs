namespace StreamingDaemon.MockLlm;

/// <summary>How the mock answers, and where it listens.</summary>
/// <param name="Port">On 127.0.0.1; 0 is any free one.</param>
/// <param name="IsTls">With its own certificate, which nobody trusts.</param>
/// <param name="HttpVersion">2 (prior knowledge, or ALPN with TLS), or 1 for HTTP/1.1.</param>
/// <param name="Chunks">Chunks with text; the finish and [DONE] follow.</param>
/// <param name="DelayMs">Delay before each chunk but the first.</param>
/// <param name="FirstDelayMs">Delay before the first chunk.</param>
/// <param name="TextBytes">Bytes of text in each chunk; 0 is a word.</param>
/// <param name="MaxStreams">Streams that a client may have on one HTTP/2 connection.</param>
/// <param name="Socket">Path of a Unix socket, instead of the port.</param>
/// <param name="ReadsRequests">Answers each request by its path and its header X-Test-Pattern. Over HTTP/2
/// that costs a server that reads them; over HTTP/1.1 they are always read.</param>
internal sealed record MockLlmOptions(int Port, bool IsTls, int HttpVersion, int Chunks, int DelayMs,
    int FirstDelayMs, int TextBytes, int MaxStreams, string? Socket = null, bool ReadsRequests = false);
