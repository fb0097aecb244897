using System.Diagnostics;
using System.Globalization;
using System.Net.Security;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary><c>check --upstream</c>: asks for one token in the same way as any stream, and reports each
/// step of it, or what is wrong and how to fix it.</summary>
/// <param name="options">The backend's options.</param>
internal sealed class OpenAIProbe(OpenAIOptions options)
{
    private readonly UpstreamTrace _trace = new();
    private readonly List<UpstreamFinding> _findings = [];

    /// <param name="cancellationToken">Ends the wait for the token.</param>
    public async Task<IReadOnlyList<UpstreamFinding>> RunAsync(CancellationToken cancellationToken)
    {
        var (result, firstToken) = await AskAsync(1, cancellationToken);
        // Some models know this limit only under another name; some gateways answer that with a 500 or under
        // a 200. Models that think may spend the token on that. The answer is left at its first token anyway.
        if (firstToken is null && (result.UpstreamStatus is 400 or 422 or 500
            || result.Fault is UpstreamFault.ErrorEvent or UpstreamFault.NotAStream
            || result is { Fault: UpstreamFault.EmptyAnswer, FinishReason: not null }))
        {
            (result, firstToken) = await AskAsync(null, cancellationToken);
        }

        var failure = firstToken is null ? new ProbeFailure(options, _trace, result) : null;
        Describe(failure);
        if (firstToken is { } time)
            Add("first token", $"after {time.TotalMilliseconds:0} ms, from model {options.Model}");
        if (_trace.Status != 0 && !cancellationToken.IsCancellationRequested)
            await DescribeServerAsync(failure, cancellationToken);
        return _findings;
    }

    private async Task<(BackendResult Result, TimeSpan? FirstToken)> AskAsync(
        int? maxTokens, CancellationToken cancellationToken)
    {
        using var end = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        var sink = new FirstToken(end);
        using var backend = OpenAIBackend.ForProbe(options, _trace);
        var request = new StreamRequest
        {
            RequestId = "check",
            Prompt = "Hello",
            MaxTokens = maxTokens,
            Wanted = DeltaKinds.Text | DeltaKinds.Reasoning,
            RetryWindow = TimeSpan.Zero,
        };
        try
        {
            return (await backend.StreamAsync(request, sink, end.Token), sink.Time);
        }
        catch (OperationCanceledException)
        {
            return (new BackendResult(StreamOutcome.UpstreamTimeout, "the upstream sent no token in time")
            {
                Fault = UpstreamFault.FirstTokenTimeout,
            }, sink.Time);
        }
    }

    /// <summary>The steps that went well, and the one that did not.</summary>
    private void Describe(ProbeFailure? failure)
    {
        if (_trace.Address is { } address)
            Add("address", $"{address} answers for {Shown(ApiAddress.Completions(options.ApiBase))}");
        if (Fails("address", failure) || _trace.Host is null)
            return;
        if (Fails("proxy", failure))
            return;
        Add("proxy", ProbeFailure.ProxyOf(options, _trace) is { } proxy ? $"goes through {proxy}" : "none");
        if (!Fails("TLS", failure))
            Add("TLS", Tls());
        if (!Fails("HTTP", failure) && _trace.HttpVersion is { } version)
            Add("HTTP", $"HTTP/{(version.Major < 2 ? version.ToString(2) : version.ToString(1))}");
        if (!Fails("status", failure) && _trace.Status != 0)
            Add("status", _trace.Status.ToString(CultureInfo.InvariantCulture));
        Fails("first token", failure);
    }

    /// <summary>An address without what may be secret: its query.</summary>
    internal static string Shown(Uri address) => address.GetComponents(
        UriComponents.SchemeAndServer | UriComponents.Path, UriFormat.UriEscaped);

    private string Tls()
    {
        if (options.ApiBase.Scheme != Uri.UriSchemeHttps)
            return "none: the address is http";
        if (_trace is not { Protocol: { } protocol, Certificate: var (name, issuer, notAfter) })
            return "no handshake";
        var trust = _trace.CertificateErrors == SslPolicyErrors.None
            ? "trusted" : "not trusted, but accepted (OPENAI_INSECURE_SSL, OPENAI_CA_FILE)";
        return $"{protocol}, certificate of {name} by {issuer}, until {notAfter:yyyy-MM-dd}, {trust}";
    }

    private bool Fails(string step, ProbeFailure? failure)
    {
        if (failure?.Step != step)
            return false;
        _findings.Add(new UpstreamFinding("upstream " + step, false, failure.Detail));
        return true;
    }

    private async Task DescribeServerAsync(ProbeFailure? failure, CancellationToken cancellationToken)
    {
        var kind = ServerKind.OfHeaders(_trace.Headers);
        var models = ModelList.None;
        if (kind is null || failure is { IsAboutModel: true })
            models = await ModelList.AskAsync(options, OpenAIBackend.UpstreamOf(options), cancellationToken);
        kind ??= ServerKind.OfOwners(models.Owners);
        Add("server", kind is null ? "of an unknown kind" : $"looks like {kind}");
        if (failure is { IsAboutModel: true } && models.Ids.Count > 0)
        {
            const int Most = 8;
            var more = models.Ids.Count > Most ? $" and {models.Ids.Count - Most} more" : "";
            Add("models", string.Join(", ", models.Ids.Take(Most)) + more);
        }
    }

    private void Add(string step, string detail) =>
        _findings.Add(new UpstreamFinding("upstream " + step, true, detail));

    /// <summary>Notes the first delta, and ends the answer there.</summary>
    private sealed class FirstToken(CancellationTokenSource end) : IDeltaSink
    {
        private readonly long _start = Stopwatch.GetTimestamp();

        public TimeSpan? Time { get; private set; }

        public void OnResponseStarted()
        {
        }

        public void OnRetry(UpstreamFault fault)
        {
        }

        public void OnUpstreamActivity()
        {
        }

        public ValueTask WriteAsync(StreamDelta delta, CancellationToken cancellationToken)
        {
            Time ??= Stopwatch.GetElapsedTime(_start);
            end.CancelAfter(TimeSpan.Zero);
            return ValueTask.CompletedTask;
        }
    }
}
