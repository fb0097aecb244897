using System.Net;
using System.Net.Http.Headers;
using System.Text;
using System.Text.Json;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Commands;

/// <summary>
/// <c>check --apache URL</c>: asks <c>apache/doctor.php</c> what PHP can see, and then for one streamed
/// answer, through whatever stands in front.
/// </summary>
internal sealed class ApacheCheck(HttpClient client, Uri address)
{
    /// <summary>More than a report or an error page has.</summary>
    private const int MostBytes = 64 * 1024;

    private const int MostText = 1000;

    /// <summary>More than the checks of doctor.php.</summary>
    private const int MostChecks = 100;

    private readonly List<CheckResult> _results = [];

    /// <param name="url">Address of doctor.php, with its key.</param>
    /// <param name="patience">Longest that both requests may take together.</param>
    /// <param name="cancellationToken">Ends it.</param>
    public static async Task<IReadOnlyList<CheckResult>> RunAsync(
        string url, TimeSpan patience, CancellationToken cancellationToken)
    {
        if (!Uri.TryCreate(url, UriKind.Absolute, out var address)
            || address.Scheme is not ("http" or "https"))
        {
            return [Failed("address", $"{PrintedText.Harmless(url)} is no http or https address")];
        }

        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(patience);
        // What a browser would get: no redirect is followed silently, and nothing is decompressed.
        using var handler = new SocketsHttpHandler { AllowAutoRedirect = false, UseProxy = false };
        using var client = new HttpClient(handler) { Timeout = Timeout.InfiniteTimeSpan };
        var check = new ApacheCheck(client, address);
        try
        {
            if (await check.AskPhpAsync(limit.Token))
                await check.StreamAsync(limit.Token);
        }
        catch (Exception e) when (e is HttpRequestException or IOException)
        {
            // An answer that breaks off is an IOException.
            check._results.Add(Failed("address",
                $"{address.Authority}: {PrintedText.Sentence(e.Message).TrimEnd('.')}. "
                + "Is httpd running there?"));
        }
        catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
        {
            check._results.Add(Failed("stream",
                $"nothing more came within {patience.TotalSeconds:0} s. The daemon's log says why"));
        }

        return check._results;
    }

    /// <returns>False if doctor.php does not answer.</returns>
    private async Task<bool> AskPhpAsync(CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, address);
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("application/json"));
        using var response = await client.SendAsync(
            request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        var text = await ReadAsync(response, cancellationToken);
        if (!response.IsSuccessStatusCode || !TryReadReport(text))
        {
            var advice = text.StartsWith("<?php", StringComparison.Ordinal)
                ? "httpd does not run PHP at this address"
                : response.StatusCode == HttpStatusCode.NotFound
                    ? "Copy doctor.php there, give PHP HANDOFF_DOCTOR_KEY, and end the address with ?key= "
                        + "and its value"
                    : "It must be the address of apache/doctor.php";
            _results.Add(Failed("address",
                $"{address.Authority} answers {(int)response.StatusCode}. {advice}"));
            return false;
        }

        return true;
    }

    private bool TryReadReport(string text)
    {
        try
        {
            using var report = JsonDocument.Parse(text);
            foreach (var check in report.RootElement.GetProperty("checks").EnumerateArray().Take(MostChecks))
            {
                _results.Add(new CheckResult($"apache {Word(check, "name")}", Word(check, "status") switch
                {
                    "ok" => CheckStatus.Ok,
                    "warning" => CheckStatus.Warning,
                    _ => CheckStatus.Failed,
                }, Word(check, "detail")));
            }

            return true;
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            return false;
        }
    }

    private async Task StreamAsync(CancellationToken cancellationToken)
    {
        using var request = new HttpRequestMessage(HttpMethod.Post, address)
        {
            Content = new StringContent(""),
        };
        request.Headers.Accept.Add(new MediaTypeWithQualityHeaderValue("text/event-stream"));
        var started = Environment.TickCount64;
        using var response = await client.SendAsync(
            request, HttpCompletionOption.ResponseHeadersRead, cancellationToken);
        if (response.Headers.Contains("X-Socket-Handoff") || response.Headers.Contains("X-Handoff-Data"))
        {
            _results.Add(Failed("stream", "the prompt goes to the browser as a header: mod_socket_handoff is "
                + "not loaded. Load it, or include handoff-strip.conf"));
        }
        else if (response.StatusCode != HttpStatusCode.OK)
        {
            var code = CodeOf(await ReadAsync(response, cancellationToken));
            _results.Add(Failed("stream", $"{(int)response.StatusCode} {code}: "
                + Advice(response.StatusCode, code)));
        }
        else if (response.Content.Headers.ContentType?.MediaType != "text/event-stream")
        {
            _results.Add(Failed("stream", "the answer is PHP's own: the module did not hand over"));
        }
        else
        {
            await ReadStreamAsync(response, started, cancellationToken);
        }
    }

    private async Task ReadStreamAsync(
        HttpResponseMessage response, long started, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var buffer = new byte[16 * 1024];
        var text = new StringBuilder();
        var (first, last) = (0L, 0L);
        while (text.Length < MostBytes
            && await body.ReadAsync(buffer, cancellationToken) is > 0 and var count)
        {
            last = Environment.TickCount64 - started;
            first = text.Length == 0 ? last : first;
            text.Append(Encoding.UTF8.GetString(buffer, 0, count));
        }

        var answer = text.ToString();
        var events = answer.Split("\n\n").Count(part => part.Contains("data: ", StringComparison.Ordinal));
        if (!answer.Contains("data: [DONE]", StringComparison.Ordinal))
        {
            _results.Add(Failed("stream", $"{events} events and no [DONE]: the daemon's log says why"));
            return;
        }

        _results.Add(new CheckResult("apache stream", CheckStatus.Ok,
            $"{events} events, the first after {first} ms, the last after {last} ms"));
        _results.Add(IsHeldBack(events, first, last)
            ? new CheckResult("apache buffering", CheckStatus.Warning,
                $"all {events} events came at once, after {first} ms: something in front of httpd holds the "
                + "answer back. nginx: proxy_buffering off; httpd: ProxyPass with flushpackets=on")
            : new CheckResult("apache buffering", CheckStatus.Ok, "events come one by one"));
    }

    /// <summary>Events that a model wrote over some time, and that came together.</summary>
    private static bool IsHeldBack(int events, long firstMs, long lastMs) =>
        events > 2 && firstMs > 200 && lastMs - firstMs < firstMs / 20;

    private static string Advice(HttpStatusCode status, string code) => code switch
    {
        "handoff_forbidden" => "the socket's path is not below SocketHandoffAllowedPrefix",
        "handoff_unavailable" => "see the module, above",
        "daemon_unavailable" => "httpd's user cannot connect to the daemon's socket. httpd's error log says "
            + "whether it is not there, or not permitted: give it a group that httpd's user is in",
        _ => status == HttpStatusCode.Forbidden
            ? "the socket's path is not below SocketHandoffAllowedPrefix, or something forbids POST"
            : "httpd's error log, or the daemon's, says why",
    };

    private static string CodeOf(string text)
    {
        try
        {
            using var error = JsonDocument.Parse(text);
            return Word(error.RootElement.GetProperty("error"), "code");
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or KeyNotFoundException)
        {
            return "";
        }
    }

    private static string Word(JsonElement of, string name) =>
        PrintedText.Sentence(of.GetProperty(name).GetString() ?? "", MostText);

    private static async Task<string> ReadAsync(
        HttpResponseMessage response, CancellationToken cancellationToken)
    {
        await using var body = await response.Content.ReadAsStreamAsync(cancellationToken);
        var bytes = new byte[MostBytes];
        var length = await body.ReadAtLeastAsync(
            bytes, MostBytes, throwOnEndOfStream: false, cancellationToken);
        return Encoding.UTF8.GetString(bytes, 0, length);
    }

    private static CheckResult Failed(string step, string detail) =>
        new($"apache {step}", CheckStatus.Failed, detail);
}
