using System.Globalization;
using System.Text;
using System.Text.Unicode;

namespace StreamingDaemon.Backends.Mock;

/// <summary>The mock's 18 texts: two made for the request, sixteen always the same.</summary>
internal static class MockScript
{
    /// <summary>Content events of one answer.</summary>
    public const int EventCount = 18;

    /// <summary>How many texts, from the first on, are made for the request.</summary>
    public const int DynamicCount = 2;

    /// <summary>Longest preview of a prompt, bytes of UTF-8, as in the other daemons.</summary>
    private const int PreviewBytes = 50;

    /// <summary>Room for the longest text made for a request.</summary>
    public const int MaxDynamicBytes = 128;

    private static readonly byte[][] s_static =
    [
        Bytes("Apache has handed this connection over and gone back to work."),
        Bytes("Each event you read left through one io_uring."),
        Bytes("Nothing here was computed: this is the mock backend."),
        Bytes("It answers the same way every time."),
        Bytes("That makes it a good first thing to try."),
        Bytes("It also makes a fair load test."),
        Bytes("There is a pause between two events, as a model would make."),
        Bytes("You can set it to zero."),
        Bytes("The socket is yours until the end of the answer."),
        Bytes("Close it and the stream stops at once."),
        Bytes("This is message 13 of 18."),
        Bytes("This is message 14 of 18."),
        Bytes("This is message 15 of 18."),
        Bytes("This is message 16 of 18."),
        Bytes("This is message 17 of 18."),
        Bytes("[DONE-CONTENT]"),
    ];

    /// <summary>The n-th text, from <see cref="DynamicCount"/> on; the first is 0.</summary>
    public static byte[] StaticText(int n) => s_static[n - DynamicCount];

    /// <summary>Writes the n-th text, below <see cref="DynamicCount"/>.</summary>
    /// <returns>Bytes written.</returns>
    public static int WriteDynamic(int n, StreamRequest request, Span<byte> destination) =>
        n == 0 ? WriteGreeting(request, destination) : WriteUser(request, destination);

    /// <summary>The answering backend, and the start of the prompt.</summary>
    private static int WriteGreeting(StreamRequest request, Span<byte> destination)
    {
        var greeting = "Hello from streaming-daemon (.NET, io_uring)! Prompt: "u8;
        greeting.CopyTo(destination);
        return greeting.Length + WritePreview(PromptOf(request), destination[greeting.Length..]);
    }

    private static int WriteUser(StreamRequest request, Span<byte> destination)
    {
        var label = "User ID: "u8;
        label.CopyTo(destination);
        var rest = destination[label.Length..];
        if (request.UserId.Text is { } text)
            return label.Length + WritePreview(text, rest);
        (request.UserId.Number ?? 0).TryFormat(rest, out var written, default, CultureInfo.InvariantCulture);
        return label.Length + written;
    }

    private static string? PromptOf(StreamRequest request) =>
        request.Messages is { } messages ? LastText.Of(messages) : request.Prompt;

    private static int WritePreview(string? prompt, Span<byte> destination)
    {
        if (string.IsNullOrEmpty(prompt))
        {
            "(none)"u8.CopyTo(destination);
            return 6;
        }

        // Writes whole runes only, so it cuts at a rune's boundary; lone surrogates become U+FFFD.
        Utf8.FromUtf16(prompt, destination[..PreviewBytes], out var read, out var written);
        if (read == prompt.Length)
            return written;
        "..."u8.CopyTo(destination[written..]);
        return written + 3;
    }

    private static byte[] Bytes(string text) => Encoding.UTF8.GetBytes(text);
}
