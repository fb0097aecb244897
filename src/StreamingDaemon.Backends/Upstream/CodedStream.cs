using System.Buffers;
using System.IO.Compression;

namespace StreamingDaemon.Backends.Upstream;

/// <summary>A content coding (RFC 9110, section 8.4.1).</summary>
internal enum BodyCoding
{
    /// <summary>gzip</summary>
    Gzip,

    /// <summary>deflate</summary>
    Deflate,

    /// <summary>br</summary>
    Brotli,

    /// <summary>Any that is not decoded. .NET 10 has no decoder for zstd, the one of them that is still
    /// sent.</summary>
    Other,

    /// <summary>None, or gzip once more: proxies compress what their upstream has compressed, and name it
    /// once.</summary>
    GzipAgain,
}

/// <summary>
/// A body whose header names a content coding. Its first bytes tell what it is: proxies that decode a body
/// often leave the header, and "deflate" is the zlib format (RFC 9110, section 8.4.1.2) or, from many
/// servers, bare deflate data.
/// </summary>
/// <param name="body">The body as it comes; disposed with this.</param>
/// <param name="coding">What the header says.</param>
/// <param name="name">The coding's name in the header, for the log.</param>
internal sealed class CodedStream(Stream body, BodyCoding coding, string name = "") : ReadOnlyStream
{
    /// <summary>Codings that the log may name.</summary>
    private static readonly string[] s_names =
        ["zstd", "compress", "x-compress", "dcb", "dcz", "bzip2", "xz", "lz4"];

    /// <summary>A body that begins with this many characters of text is not coded: coded data begins so once
    /// in five million times.</summary>
    private const int TextBytes = 16;

    /// <summary>Bytes that tell gzip from anything else.</summary>
    private const int MagicBytes = 3;

    private static readonly SearchValues<byte> s_text = SearchValues.Create(
    [
        (byte)'\t', (byte)'\r', (byte)'\n', .. Enumerable.Range(' ', '~' - ' ' + 1).Select(b => (byte)b),
    ]);

    private Stream? _decoder;

    public override async ValueTask<int> ReadAsync(
        Memory<byte> buffer, CancellationToken cancellationToken = default)
    {
        _decoder ??= await OpenAsync(cancellationToken);
        return await _decoder.ReadAsync(buffer, cancellationToken);
    }

    protected override void Dispose(bool disposing)
    {
        if (disposing)
        {
            _decoder?.Dispose();
            body.Dispose();
        }

        base.Dispose(disposing);
    }

    private async ValueTask<Stream> OpenAsync(CancellationToken cancellationToken)
    {
        var first = new byte[TextBytes];
        var length = 0;
        var isText = true;
        while (length < (isText && coding != BodyCoding.GzipAgain ? first.Length : MagicBytes))
        {
            var count = await body.ReadAsync(first.AsMemory(length), cancellationToken);
            if (count == 0)
                break;
            isText &= !first.AsSpan(length, count).ContainsAnyExcept(s_text);
            length += count;
        }

        var whole = new PrefixedStream(first.AsMemory(0, length), body);
        if (isText)
            return whole;
        // gzip begins with these bytes (RFC 1952, section 2.3.1), whatever the header says.
        if (first is [0x1f, 0x8b, 8, ..])
        {
            var inner = new GZipStream(whole, CompressionMode.Decompress);
            return coding == BodyCoding.GzipAgain ? inner : new CodedStream(inner, BodyCoding.GzipAgain);
        }

        // The low half of zlib's first byte names the method: 8 is deflate (RFC 1950, section 2.2).
        var isZlib = (first[0] & 0xf) == 8 && first[0] >> 4 <= 7;
        return coding switch
        {
            BodyCoding.GzipAgain => whole,
            BodyCoding.Gzip when !isZlib => new GZipStream(whole, CompressionMode.Decompress),
            BodyCoding.Brotli => new BrotliStream(whole, CompressionMode.Decompress),
            BodyCoding.Other => throw new UnknownCodingException(s_names.Contains(name) ? name : "unknown"),
            _ when isZlib =>
                new ZLibStream(whole, CompressionMode.Decompress),
            _ => new DeflateStream(whole, CompressionMode.Decompress),
        };
    }

    /// <summary>Some bytes, then a stream.</summary>
    private sealed class PrefixedStream(ReadOnlyMemory<byte> prefix, Stream rest) : ReadOnlyStream
    {
        private ReadOnlyMemory<byte> _prefix = prefix;

        public override ValueTask<int> ReadAsync(
            Memory<byte> buffer, CancellationToken cancellationToken = default)
        {
            if (_prefix.IsEmpty)
                return rest.ReadAsync(buffer, cancellationToken);
            var count = Math.Min(buffer.Length, _prefix.Length);
            _prefix[..count].CopyTo(buffer);
            _prefix = _prefix[count..];
            return new ValueTask<int>(count);
        }
    }
}

/// <summary>A body's coding is none that is decoded.</summary>
/// <param name="name">Its name, if that may be shown.</param>
internal sealed class UnknownCodingException(string name) : IOException(
    $"the upstream's Content-Encoding ({name}) cannot be decoded: the daemon asks for none");
