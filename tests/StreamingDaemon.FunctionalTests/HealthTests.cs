using System.Net;
using System.Net.Http;
using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

public sealed class HealthTests
{
    [Fact]
    public async Task Probes_may_ask_with_head_and_nothing_else_than_the_known_paths_is_served()
    {
        await using var daemon = await DaemonProcess.StartAsync();
        using var http = new HttpClient { BaseAddress = daemon.MetricsUri };

        foreach (var path in (string[])["/health", "/healthz", "/health/live", "/health/ready"])
        {
            using var head = await http.SendAsync(new HttpRequestMessage(HttpMethod.Head, path));
            Assert.Equal(HttpStatusCode.OK, head.StatusCode);
            Assert.Equal("no-store", head.Headers.CacheControl!.ToString());
            Assert.Empty(await head.Content.ReadAsByteArrayAsync());
        }

        Assert.Equal(HttpStatusCode.NotFound, (await http.GetAsync("/metrics/../etc/passwd")).StatusCode);
        Assert.Equal(HttpStatusCode.MethodNotAllowed, (await http.PostAsync("/health", null)).StatusCode);
    }
}
