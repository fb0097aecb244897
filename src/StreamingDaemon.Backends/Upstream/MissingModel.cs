using System.Text;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>Recognizes "no such model" in an error's body, whose text never gets into the log. Servers have
/// no common code for it.</summary>
internal static partial class MissingModel
{
    /// <summary>How much of an error is read, bytes.</summary>
    private const int MaxErrorBytes = 4096;

    /// <param name="status">The HTTP status.</param>
    /// <param name="body">The body, or its beginning.</param>
    public static bool IsNamed(int status, ReadOnlySpan<byte> body) =>
        status is >= 400 and <= 500 and not (401 or 408 or 409 or 429) && IsNamed(body);

    /// <summary>As the other, for an error under a status of success.</summary>
    public static bool IsNamed(ReadOnlySpan<byte> error) =>
        Phrases().IsMatch(Encoding.UTF8.GetString(error[..Math.Min(error.Length, MaxErrorBytes)]));

    /// <summary>OpenAI, vLLM, Ollama, LM Studio, LiteLLM: "model … not found" or "does not exist".
    /// OpenRouter, Azure and Ollama have words of their own.</summary>
    [GeneratedRegex("model_?not_?found|deployment_?not_?found"
        + "|model[^{}]{0,120}?(not found|(does not|doesn't|not) exist|is not loaded|no longer available)"
        + "|(unknown|invalid|no such|not a valid) model|no models loaded|no endpoints found",
        RegexOptions.IgnoreCase | RegexOptions.CultureInvariant)]
    private static partial Regex Phrases();

    /// <summary>The model and who named it, as the log says it.</summary>
    /// <param name="named">The handoff's model, or null.</param>
    /// <param name="configured">The model of requests that name none.</param>
    /// <param name="hint">What configures it.</param>
    public static string Describe(string? named, string configured, string hint)
    {
        const int MaxLength = 100;
        var model = named ?? configured;
        var name = model.Length > MaxLength ? model[..MaxLength] + "…" : model;
        return $"'{name}', named by {(named is null ? hint : "the handoff")}";
    }
}
