using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Uring;

namespace StreamingDaemon.Host.Delivery;

/// <summary>What <c>check</c> says about deliveries. It shows neither the secret nor the whole URL, which may
/// hold one.</summary>
internal static class DeliveryCheck
{
    private const string Name = "deliveries";

    /// <returns>Nothing if deliveries are off.</returns>
    public static IEnumerable<CheckResult> Of(DeliveryOptions options)
    {
        if (options.Url is not { } url)
            yield break;
        var spool = new DeliverySpool(options.SpoolDir);
        var (waiting, dead) = (0, 0);
        var problem = SpoolPatience.Look(spool, onAnswer =>
        {
            var found = Problem(options, spool);
            if (found is null)
                (waiting, dead) = (Count(spool.Pending(), onAnswer), Count(spool.Dead(), onAnswer));
            return found;
        });
        yield return problem is not null
            ? new CheckResult(Name, CheckStatus.Failed, problem)
            : new CheckResult(Name, CheckStatus.Ok, $"to {url.GetLeftPart(UriPartial.Authority)}, signed; in "
                + $"{options.SpoolDir} {waiting} wait and {dead} are dead");
    }

    private static int Count(IEnumerable<SpoolName> names, Action onAnswer)
    {
        var count = 0;
        foreach (var _ in names)
        {
            count++;
            onAnswer();
        }

        return count;
    }

    private static string? Problem(DeliveryOptions options, DeliverySpool spool)
    {
        try
        {
            if (options.CaFile is { } file)
                AuthorityFile.Read("delivery.ca_file", file);
            return spool.ProblemAtLook();
        }
        catch (IOException e)
        {
            return e.Message;
        }
    }
}
