using System.Buffers;
using System.Text.Encodings.Web;

namespace StreamingDaemon.Host.Handoff;

/// <summary>Data as a JSON string: some servers take data of tools only so.</summary>
internal static class EncodedText
{
    /// <summary>Bytes that are escaped at a time: not all of them need room for six bytes each.</summary>
    private const int PieceBytes = 4096;

    /// <summary>Writes UTF-8 text as a string, with its quotes.</summary>
    public static void Write(ReadOnlySpan<byte> text, IBufferWriter<byte> output)
    {
        output.Write("\""u8);
        while (!text.IsEmpty)
        {
            var piece = text[..Math.Min(text.Length, PieceBytes)];
            JavaScriptEncoder.UnsafeRelaxedJsonEscaping.EncodeUtf8(piece, output.GetSpan(PieceBytes),
                out var read, out var written, isFinalBlock: piece.Length == text.Length);
            output.Advance(written);
            text = text[read..];
        }

        output.Write("\""u8);
    }
}
