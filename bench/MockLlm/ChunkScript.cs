using System.Text;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.MockLlm;

/// <summary>
/// An answer, made once: every stream is sent these same bytes, so no stream costs an encoding.
/// </summary>
internal sealed class ChunkScript
{
    private static readonly string[] s_words =
    [
        "The", " quick", " answer", " comes", " one", " word", " at", " a", " time", ",", " and", " each",
        " of", " them", " is", " a", " chunk", " that", " somebody", " waits", " for", " in", " front",
        " of", " it", ".",
    ];

    /// <param name="chunks">Chunks with text, at least one.</param>
    /// <param name="textBytes">Bytes of text in each chunk; 0 is a word.</param>
    public ChunkScript(int chunks, int textBytes)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(chunks, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(textBytes);
        Pieces = [.. Enumerable.Range(0, chunks).Select(i => TextEvent(Text(i, textBytes))), .. End("stop")];
    }

    /// <param name="pattern">The pattern that a header asked for.</param>
    public ChunkScript(TestPattern pattern) =>
        Pieces = [.. pattern.Texts.Select(TextEvent), .. pattern.FinishReason is { } reason ? End(reason) : []];

    /// <summary>The pieces, written with a delay between them: the chunks, the finish, [DONE].</summary>
    public IReadOnlyList<ReadOnlyMemory<byte>> Pieces { get; }

    private static ReadOnlyMemory<byte> TextEvent(string text) =>
        Event(Chunk($$"""{"content":"{{text}}"}""", "null"));

    private static ReadOnlyMemory<byte>[] End(string finishReason) =>
        [Event(Chunk("{}", $"\"{JsonEncodedText.Encode(finishReason)}\"")), Event("[DONE]")];

    private static string Text(int index, int bytes)
    {
        var word = s_words[index % s_words.Length];
        return bytes == 0 ? word : word[..Math.Min(bytes, word.Length)].PadRight(bytes, 'x');
    }

    private static string Chunk(string delta, string finishReason) =>
        """{"id":"chatcmpl-mock","object":"chat.completion.chunk","created":0,"model":"mock","""
        + $"\"choices\":[{{\"index\":0,\"delta\":{delta},\"finish_reason\":{finishReason}}}]}}";

    private static ReadOnlyMemory<byte> Event(string data) => Encoding.UTF8.GetBytes($"data: {data}\n\n");
}
