using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Testing;
using Xunit;

namespace StreamingDaemon.Host.Tests.Answers;

/// <summary>Alone: what other tests allocate would be measured too.</summary>
[CollectionDefinition(nameof(KeptAnswerMemoryTests), DisableParallelization = true)]
[Collection(nameof(KeptAnswerMemoryTests))]
public sealed class KeptAnswerMemoryTests
{
    private const int Tokens = 200;

    private const int Answers = 3000;

    [Trait("Takes", "Long")]
    [Fact]
    public async Task A_finished_answer_takes_its_bytes_and_less_than_1_KB()
    {
        // Without the access log, whose lines the test's daemon keeps.
        await using var daemon = await InProcessDaemon.StartAsync(new TwoHundredTokens(),
            new DaemonOptions
            {
                Performance = new PerformanceOptions { Benchmark = true },
                Answers = new AnswerOptions { MaxBytes = 256 * 1024 * 1024 },
            });
        var bytes = await AskAsync(daemon, Answers / 30);

        // Leftovers of other tests may be released meanwhile, and the shared array pool frees some of its arrays
        // at each collection. So a figure that is too small is measured again.
        long each = 0;
        for (var attempt = 0; attempt < 5 && each < bytes - 512; attempt++)
        {
            var before = Live();
            await AskAsync(daemon, Answers);
            each = (Live() - before) / Answers;
        }

        Assert.InRange(each, bytes - 512, bytes + 1024);
    }

    /// <returns>Bytes of one answer's events.</returns>
    private static async Task<int> AskAsync(InProcessDaemon daemon, int answers)
    {
        var bytes = 0;
        for (var i = 0; i < answers; i++)
        {
            using var client = TestClient.HandOver(daemon.SocketPath, """{"keep":true,"user_id":7}""");
            var answer = await TestClient.ReadTextAsync(client);
            Assert.EndsWith($"id: {Tokens + 1}\ndata: [DONE]\n\n", answer, StringComparison.Ordinal);
            bytes = answer.Length - answer.IndexOf("\r\n\r\n", StringComparison.Ordinal) - 4;
        }

        return bytes;
    }

    private static long Live()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private sealed class TwoHundredTokens : IStreamingBackend
    {
        public string Name => "tokens";

        public string DefaultModel => "";

        public bool RequiresPrompt => false;

        public async Task<BackendResult> StreamAsync(
            StreamRequest request, IDeltaSink sink, CancellationToken cancellationToken)
        {
            for (var i = 0; i < Tokens; i++)
                await sink.WriteAsync(new StreamDelta(" answer"u8.ToArray()), cancellationToken);
            return BackendResult.Completed;
        }
    }
}
