using System.Buffers;

namespace StreamingDaemon.Host.Delivery;

/// <summary>Whether a delivery's file is whole. A file system that was cut off may keep half of it, nothing,
/// or zeros: no receiver can use that, and it would hold up its user's later ones.</summary>
internal static class SpoolContent
{
    /// <summary>What ends a piece of a JSON string, or may not be in one (RFC 8259, section 7).</summary>
    private static readonly SearchValues<byte> s_inString =
        SearchValues.Create([.. Enumerable.Range(0, 0x20).Select(b => (byte)b), (byte)'"', (byte)'\\']);

    /// <summary>Reads the file to its end: one JSON object, by its brackets and strings.</summary>
    public static bool IsWhole(Stream file)
    {
        var scan = default(Scan);
        Span<byte> buffer = stackalloc byte[8192];
        while (file.Read(buffer) is > 0 and var read)
        {
            if (!scan.TryTake(buffer[..read]))
                return false;
        }

        return scan.IsWhole;
    }

    private struct Scan
    {
        private int _depth;
        private bool _isInString;
        private bool _isEscaped;

        public bool IsWhole { get; private set; }

        public bool TryTake(ReadOnlySpan<byte> bytes)
        {
            while (bytes.Length > 0)
            {
                if (_isEscaped)
                {
                    _isEscaped = false;
                    bytes = bytes[1..];
                    continue;
                }

                if (_isInString)
                {
                    var end = bytes.IndexOfAny(s_inString);
                    if (end < 0)
                        return true;
                    if (bytes[end] < 0x20)
                        return false;
                    _isEscaped = bytes[end] == '\\';
                    _isInString = _isEscaped;
                    bytes = bytes[(end + 1)..];
                    continue;
                }

                if (!TryTakeOutside(bytes[0]))
                    return false;
                bytes = bytes[1..];
            }

            return true;
        }

        /// <summary>A byte that is in no string.</summary>
        private bool TryTakeOutside(byte next)
        {
            if (next is (byte)' ' or (byte)'\n' or (byte)'\r' or (byte)'\t')
                return true;
            // Nothing follows the object, and nothing but an object is one.
            if (next < 0x20 || IsWhole || (_depth == 0 && next != '{'))
                return false;
            switch (next)
            {
                case (byte)'"':
                    _isInString = true;
                    break;
                case (byte)'{' or (byte)'[':
                    _depth++;
                    break;
                case (byte)'}' or (byte)']':
                    IsWhole = --_depth == 0;
                    break;
            }

            return true;
        }
    }
}
