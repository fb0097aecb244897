using System.Net.Http;
using System.Text.Json;
using StreamingDaemon.Backends.Upstream;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>What <c>GET …/models</c> lists: ids and owners, as far as they may be shown.</summary>
internal sealed record ModelList(IReadOnlyList<string> Ids, IReadOnlyCollection<string> Owners)
{
    /// <summary>How much of the list is read, bytes: some servers know hundreds of models.</summary>
    private const int MaxBytes = 1024 * 1024;

    private static readonly TimeSpan s_patience = TimeSpan.FromSeconds(5);

    public static ModelList None { get; } = new([], []);

    /// <summary>Asks for the list. <see cref="None"/> if there is none: it is only a hint.</summary>
    public static async Task<ModelList> AskAsync(
        OpenAIOptions options, UpstreamOptions upstream, CancellationToken cancellationToken)
    {
        using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        limit.CancelAfter(s_patience);
        using var transport = new UpstreamTransport(upstream);
        using var request = new HttpRequestMessage(HttpMethod.Get, ApiAddress.Models(options.ApiBase));
        KeyHeader.Of(options.Auth, upstream.Key.Current)?.AddTo(request.Headers);
        try
        {
            using var response = await transport.SendAsync(request, limit.Token);
            if (!response.IsSuccessStatusCode)
                return None;
            await response.Content.LoadIntoBufferAsync(MaxBytes, limit.Token);
            return Read(await response.Content.ReadAsByteArrayAsync(limit.Token), upstream.Secret);
        }
        catch (Exception exception) when (UpstreamFailures.IsUpstreams(exception))
        {
            // Also if the time for the whole check is up: what was found before still counts.
            return None;
        }
    }

    internal static ModelList Read(ReadOnlySpan<byte> body, string secret)
    {
        var (ids, owners) = (new List<string>(), new HashSet<string>(StringComparer.OrdinalIgnoreCase));
        try
        {
            var reader = new Utf8JsonReader(body, JsonText.Options);
            using var document = JsonDocument.ParseValue(ref reader);
            // Together sends the array alone.
            var root = document.RootElement;
            var models = root.ValueKind == JsonValueKind.Array ? root : root.GetProperty("data");
            foreach (var model in models.EnumerateArray())
            {
                if (UpstreamErrorCode.ModelName(model, "id", secret) is { } id)
                    ids.Add(id);
                if (UpstreamErrorCode.ModelName(model, "owned_by", secret) is { } owner)
                    owners.Add(owner);
            }
        }
        catch (Exception exception) when (exception is JsonException or InvalidOperationException
            or KeyNotFoundException)
        {
            // No list, or not to its end.
        }

        return new ModelList(ids, owners);
    }
}
