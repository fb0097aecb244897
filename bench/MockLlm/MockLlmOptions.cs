namespace StreamingDaemon.MockLlm;

/// <summary>How the mock answers, and on what.</summary>
/// <param name="Port">On 127.0.0.1; 0 is any free one.</param>
/// <param name="IsTls">With a certificate of its own that nobody trusts.</param>
/// <param name="HttpVersion">2 (prior knowledge, or ALPN with TLS), or 1 for HTTP/1.1.</param>
/// <param name="Chunks">With text; the finish and [DONE] follow.</param>
/// <param name="DelayMs">Before each but the first of them.</param>
/// <param name="FirstDelayMs">Before the first.</param>
/// <param name="TextBytes">Of each chunk; 0 is a word.</param>
/// <param name="MaxStreams">Streams that a client may have on one HTTP/2 connection.</param>
/// <param name="Socket">Path of a Unix socket, in the place of the port.</param>
/// <param name="ReadsRequests">Answers each by its path and its header X-Test-Pattern, which over HTTP/2 costs
/// a server that reads them; over HTTP/1.1 they always are.</param>
internal sealed record MockLlmOptions(int Port, bool IsTls, int HttpVersion, int Chunks, int DelayMs,
    int FirstDelayMs, int TextBytes, int MaxStreams, string? Socket = null, bool ReadsRequests = false);
