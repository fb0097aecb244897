using System.Net.Http;
using StreamingDaemon.ApacheTests;
using StreamingDaemon.Testing;

namespace StreamingDaemon.ChatPageTests;

/// <summary>Compose's terminator of TLS in front of a site: the real one, with its own file but for the
/// addresses.</summary>
internal sealed class TlsTerminator : IAsyncDisposable
{
    private readonly TempDirectory _directory = new();
    private readonly ChildProcess _caddy;

    private TlsTerminator(Uri behind)
    {
        var address = $"https://localhost:{DaemonProcess.FreePort()}";
        var configuration = _directory.File("Caddyfile");
        File.WriteAllText(configuration, Changed(
            File.ReadAllText(Path.Combine(Tools.Repository, "deploy", "tls", "Caddyfile")),
            ("https://localhost", address), ("apache:80", behind.Authority),
            // Nothing of this machine is changed: no port 80, and nobody is asked to trust the certificate.
            ("admin off", $"""
                admin off
                skip_install_trust
                auto_https disable_redirects
                storage file_system {_directory.File("storage")}
                """)));
        _caddy = new ChildProcess("env",
        [
            // Where it keeps what it ran last.
            $"XDG_CONFIG_HOME={_directory.Path}",
            Tools.Caddy, "run", "--adapter", "caddyfile", "--config", configuration,
        ]);
        Url = address + behind.AbsolutePath;
    }

    /// <summary>Where the site is now.</summary>
    public string Url { get; }

    public static async Task<TlsTerminator> StartAsync(Uri behind)
    {
        var terminator = new TlsTerminator(behind);
        using var tls = new HttpClientHandler();
        tls.ServerCertificateCustomValidationCallback =
            HttpClientHandler.DangerousAcceptAnyServerCertificateValidator;
        using var http = new HttpClient(tls);
        await Eventually.TrueAsync(() => terminator.AnswersAsync(http).Result);
        return terminator;
    }

    public ValueTask DisposeAsync()
    {
        _caddy.Dispose();
        _directory.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<bool> AnswersAsync(HttpClient http)
    {
        if (_caddy.HasExited)
            throw new InvalidOperationException($"the terminator ended: {_caddy.Output}");
        try
        {
            using var response = await http.GetAsync(new Uri(Url));
            return response.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }

    private static string Changed(string text, params (string What, string By)[] changes)
    {
        foreach (var (what, by) in changes)
        {
            Assert.Single(text.Split(what).Skip(1));
            text = text.Replace(what, by, StringComparison.Ordinal);
        }

        return text;
    }
}
