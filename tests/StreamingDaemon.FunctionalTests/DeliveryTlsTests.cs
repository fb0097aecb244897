using System.Collections.Concurrent;
using System.Security.Cryptography.X509Certificates;
using System.Text.Json;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>Deliveries to an https receiver whose certificate is of the site's own authority.</summary>
public sealed class DeliveryTlsTests : IDisposable
{
    private readonly TestAuthority _authority = new();

    public void Dispose() => _authority.Dispose();

    [Fact]
    public async Task Receiver_with_a_certificate_of_the_sites_own_authority_gets_deliveries_with_ca_file()
    {
        await using var receiver = await TlsReceiver.StartAsync(_authority);
        using var site = new DeliverySite(receiver.Url);
        await using var daemon = await site.StartAsync(CaFile(_authority.CaFile), "--delay", "0");

        await daemon.AskAsync("""{"prompt":"hi","request_id":"r-1"}""");

        await Eventually.TrueAsync(() => receiver.Ids.Contains("r-1"));
        await Eventually.TrueAsync(() => site.Pending.Count == 0);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Receiver_that_nobody_vouches_for_gets_nothing_and_the_delivery_waits(bool hasAnotherAuthority)
    {
        using var other = new TestAuthority();
        await using var receiver = await TlsReceiver.StartAsync(_authority);
        using var site = new DeliverySite(receiver.Url);
        await using var daemon = await site.StartAsync(
            hasAnotherAuthority ? CaFile(other.CaFile) : new Dictionary<string, string>(), "--delay", "0");

        await daemon.AskAsync("""{"prompt":"hi"}""");

        await Eventually.TrueAsync(() => daemon.LogLines("\"Name\":\"DeliveryFailed\"").Count >= 1);
        Assert.Contains("SecureConnectionError", daemon.LogLines("\"Name\":\"DeliveryFailed\"")[0], StringComparison.Ordinal);
        Assert.Single(site.Pending);
        Assert.Empty(receiver.Ids);
    }

    private static Dictionary<string, string> CaFile(string path) =>
        new() { ["STREAMING_DAEMON_DELIVERY__CA_FILE"] = path };

    private sealed class TlsReceiver : IAsyncDisposable
    {
        private readonly WebApplication _app;

        private TlsReceiver(TestAuthority authority)
        {
            using var pem = X509Certificate2.CreateFromPemFile(authority.CertificateFile, authority.KeyFile);
            var certificate = X509CertificateLoader.LoadPkcs12(pem.Export(X509ContentType.Pkcs12), null);
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            builder.WebHost.UseKestrelHttpsConfiguration();
            builder.WebHost.ConfigureKestrel(kestrel =>
                kestrel.Listen(System.Net.IPAddress.Loopback, 0, listen => listen.UseHttps(certificate)));
            _app = builder.Build();
            _app.MapPost("/deliver", async (HttpRequest request) =>
            {
                using var body = await JsonDocument.ParseAsync(request.Body);
                Ids.Enqueue(body.RootElement.GetProperty("request_id").GetString()!);
                return Results.NoContent();
            });
        }

        public ConcurrentQueue<string> Ids { get; } = new();

        public Uri Url => new(_app.Urls.Single() + "/deliver");

        public static async Task<TlsReceiver> StartAsync(TestAuthority authority)
        {
            var receiver = new TlsReceiver(authority);
            await receiver._app.StartAsync();
            return receiver;
        }

        public ValueTask DisposeAsync() => _app.DisposeAsync();
    }
}
