using StreamingDaemon.Backends;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Delivery;

namespace StreamingDaemon.Host.Streams;

/// <summary>Has answers delivered: those that <c>delivery.which</c> names.</summary>
internal sealed class AnswerDelivery(DeliveryService deliveries, ReloadableOptions options)
{
    /// <summary>The call begins: its answer is collected, with what its client is not shown.</summary>
    public void Begin(UpstreamCall call)
    {
        var request = call.Request;
        // An answer that was to be kept is delivered too if there was no room to keep it.
        if (!deliveries.TakesAll && !(request.Keep ?? options.Current.Answers.Keep))
            return;
        call.Content = deliveries.Collect();
        // Chunks hold all of it.
        if ((request.Wanted & DeltaKinds.Chunk) != 0)
            return;
        request.Unshown = AnswerContent.Wanted & ~request.Wanted;
        request.Wanted |= AnswerContent.Wanted;
    }

    /// <summary>The call ends: returns once its answer is on the disk, before any client reads the end.
    /// </summary>
    public async Task EndAsync(UpstreamCall call, BackendResult result)
    {
        if (call.TakeContent() is not { } content)
            return;
        using (content)
        {
            var request = call.Request;
            var duration = TimeSpan.FromMilliseconds(Environment.TickCount64 - call.StartedMs);
            await deliveries.AcceptAsync(new FinishedAnswer
            {
                RequestId = request.RequestId,
                UserId = request.UserId,
                Backend = call.Backend.Name,
                Model = request.Model ?? call.Backend.DefaultModel,
                Outcome = result.Outcome,
                Content = content,
                FinishReason = result.FinishReason,
                AcceptedAt = DateTimeOffset.UtcNow - duration,
                TimeToFirstToken = content.FirstShownMs is { } first
                    ? TimeSpan.FromMilliseconds(first - call.StartedMs) : null,
                Duration = duration,
                Events = call.Events,
                Delivery = request.Delivery,
            }).ConfigureAwait(false);
        }
    }
}
