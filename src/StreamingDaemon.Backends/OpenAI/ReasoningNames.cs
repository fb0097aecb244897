using System.Text;
using System.Text.Json;

namespace StreamingDaemon.Backends.OpenAI;

/// <summary>The names under which servers send reasoning.</summary>
internal static class ReasoningNames
{
    private static readonly byte[][] s_names =
    [
        .. ((string[])["reasoning_content", "reasoning", "thinking", "reasoning_details", "reasoning_text",
            "reasoning_summary", "reasoning_summary_text", "reasoning_delta", "reasoningContent",
            "reasoningText", "thinking_content", "thinking_blocks", "thinking_delta", "thinking_text",
            "thinkingContent", "think", "thought", "thoughts", "thought_content", "analysis", "cot",
            "chain_of_thought"]).Select(Encoding.UTF8.GetBytes),
    ];

    /// <summary>True if the reader's name is one of them.</summary>
    public static bool Contain(ref Utf8JsonReader reader)
    {
        foreach (var name in s_names)
        {
            if ((reader.ValueIsEscaped || reader.ValueSpan.Length == name.Length)
                && JsonText.Equals(ref reader, name))
            {
                return true;
            }
        }

        return false;
    }
}
