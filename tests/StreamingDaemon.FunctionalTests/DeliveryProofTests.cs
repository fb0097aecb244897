using StreamingDaemon.Testing;

namespace StreamingDaemon.FunctionalTests;

/// <summary>A small one of what <c>bench/Chaos --deliveries</c> plays, with PHP and SQLite.</summary>
[Trait("Needs", "Tools")]
[Trait("Takes", "Long")]
public sealed class DeliveryProofTests
{
    [Fact]
    public async Task Every_answer_whose_end_was_read_is_in_the_database_exactly_once_and_in_order()
    {
        await using var proof = new DeliveryProof();

        var result = await proof.RunAsync(answers: 1_000, kills: 3, TimeSpan.FromMinutes(2));

        Assert.True(result.Done >= 1_000 && result.Outages > 0, $"{result}");
        Assert.Equal((0, 0, 0, 0, 3),
            (result.Missing, result.Repeated, result.Disordered, result.Left, result.Kills));
    }
}
