using System.Text;
using Microsoft.Extensions.DependencyInjection;
using StreamingDaemon.Backends;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Streams;

/// <summary>Where a backend's call begins, and what its first event leaves with.</summary>
public sealed class BeginTests
{
    private const string HandoffThread = "handoffs";

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Backend_begins_on_the_thread_of_the_handoffs_only_if_it_says_that_it_begins_at_once(bool atOnce)
    {
        var backend = new OneWordBackend { BeginsAtOnce = atOnce };

        var answer = await AskAsync(backend);

        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
        Assert.Equal(atOnce, backend.Thread == HandoffThread);
    }

    private static async Task<string> AskAsync(OneWordBackend backend)
    {
        using var directory = new TempDirectory();
        var socket = directory.File("s");
        var defaults = new DaemonOptions();
        var options = defaults with
        {
            Server = defaults.Server with { Socket = socket },
            Logging = defaults.Logging with { Level = "error" },
        };
        using var daemon = new DaemonRun(
            options, () => options, services => services.AddSingleton<IStreamingBackend>(backend));
        await daemon.StartAsync(CancellationToken.None);
        using var client = TestClient.HandOver(socket, """{"backend":"one-word","prompt":"p"}""");
        var answer = await TestClient.ReadTextAsync(client);
        daemon.Drain.Begin();
        Assert.Equal(0, await daemon.WaitAsync(CancellationToken.None).WaitAsync(TestClient.Patience));
        return answer;
    }

    private sealed class OneWordBackend : IStreamingBackend
    {
        private static readonly byte[] s_word = Encoding.UTF8.GetBytes("word");

        public string? Thread { get; private set; }

        public string Name => "one-word";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public bool BeginsAtOnce { get; init; }

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            Thread = System.Threading.Thread.CurrentThread.Name;
            await sink.WriteAsync(new StreamDelta(s_word), cancellationToken);
            return BackendResult.Completed;
        }
    }
}
