using System.Globalization;
using System.IO.Compression;
using System.Text;
using System.Text.Json;
using System.Text.RegularExpressions;

namespace StreamingDaemon.Testing;

/// <summary>How an upstream's body ends.</summary>
public enum UpstreamCaseEnd
{
    /// <summary>As the framing says, or with a FIN.</summary>
    Fin,

    /// <summary>A FIN before the framing's end: no last chunk, or fewer bytes than Content-Length.</summary>
    Cut,

    /// <summary>RST, or RST_STREAM.</summary>
    Reset,

    /// <summary>Silence on an open connection.</summary>
    Hold,
}

/// <summary>
/// One file of <c>tests/corpus/upstreams</c>: what an upstream sends, and what becomes of it. The format is in
/// that directory's README.md.
/// </summary>
public sealed partial class UpstreamCase
{
    private readonly Dictionary<string, string> _expected = [];
    private string _coding = "";

    private UpstreamCase(string name) => Name = name;

    /// <summary>The file's name without its extension.</summary>
    public string Name { get; }

    /// <summary>Status line and header lines, without line ends.</summary>
    public IReadOnlyList<string> Head { get; private set; } = [];

    /// <summary>Interim responses (1xx) that come before the head: lines without line ends, an empty one after
    /// each head.</summary>
    public IReadOnlyList<string> Interim { get; private set; } = [];

    /// <summary>The body holds its own chunk framing.</summary>
    public bool IsFramed => _coding == "framed";

    /// <summary>The body in pieces, each with the pause after it, in its content coding.</summary>
    public IReadOnlyList<(byte[] Bytes, int PauseMs)> Pieces { get; private set; } = [];

    /// <summary>The body without its content coding.</summary>
    public byte[] Plain { get; private set; } = [];

    /// <summary>How the body ends.</summary>
    public UpstreamCaseEnd End { get; private set; }

    /// <summary>False if only HTTP/1.1 can send it.</summary>
    public bool IsForHttp2 { get; private set; } = true;

    /// <summary>Texts of the content events that the browser gets, one each.</summary>
    public IReadOnlyList<string> Texts => JsonSerializer.Deserialize<string[]>(Value("texts") ?? "[]")!;

    /// <summary>Deltas as "Kind: text"; null if the case is not about them.</summary>
    public IReadOnlyList<string>? Deltas =>
        Value("deltas") is { } deltas ? JsonSerializer.Deserialize<string[]>(deltas) : null;

    /// <summary>Kinds of delta that the stream wants, by name; null is text.</summary>
    public string? Wanted => Value("wanted");

    /// <summary>The HTTP status that the browser gets.</summary>
    public int Status => int.Parse(Value("status") ?? "200", CultureInfo.InvariantCulture);

    /// <summary>How the stream ends, as in the log.</summary>
    public string Outcome => Value("outcome") ?? "Completed";

    /// <summary>What was wrong with the upstream, as in the metrics; null if nothing was.</summary>
    public string? Fault => Value("fault");

    /// <summary>A part of the log's reason; null if it does not matter.</summary>
    public string? Log => Value("log");

    /// <summary>The log's finish reason; null if there is none.</summary>
    public string? Finish => Value("finish");

    /// <summary>Retry-After that the browser gets, or "none"; null if it does not matter.</summary>
    public string? RetryAfter => Value("retry_after");

    /// <summary>All cases, by name.</summary>
    public static IReadOnlyList<UpstreamCase> All { get; } =
    [
        .. Directory.GetFiles(Path.Combine(DaemonProcess.RepositoryRoot(), "tests/corpus/upstreams"), "*.case")
            .Order(StringComparer.Ordinal).Select(Read),
    ];

    /// <summary>The case of that name.</summary>
    public static UpstreamCase Named(string name) => All.Single(one => one.Name == name);

    /// <inheritdoc/>
    public override string ToString() => Name;

    private string? Value(string name) => _expected.GetValueOrDefault(name);

    private static UpstreamCase Read(string path)
    {
        var made = new UpstreamCase(Path.GetFileNameWithoutExtension(path));
        var sections = Section().Split(File.ReadAllText(path));
        for (var i = 1; i < sections.Length; i += 2)
            made.Take(sections[i], sections[i + 1]);
        if (made.Head.Count == 0 || made._expected.Count == 0)
            throw new InvalidDataException($"{path} has no head or expects nothing");
        return made;
    }

    private void Take(string title, string text)
    {
        var words = title.Split(' ', StringSplitOptions.RemoveEmptyEntries);
        switch (words[0])
        {
            case "head":
                Head = text.Split('\n', StringSplitOptions.RemoveEmptyEntries);
                break;
            case "interim":
                Interim = text.TrimEnd('\n').Split('\n');
                IsForHttp2 = false;
                break;
            case "http1":
                IsForHttp2 = false;
                break;
            case "body":
                _coding = words.Length > 1 ? words[1] : "";
                IsForHttp2 &= !IsFramed;
                TakeBody(text);
                break;
            case "end":
                End = Enum.Parse<UpstreamCaseEnd>(words[1], ignoreCase: true);
                break;
            case "expect":
                foreach (var line in text.Split('\n', StringSplitOptions.RemoveEmptyEntries))
                {
                    var colon = line.IndexOf(':', StringComparison.Ordinal);
                    _expected.Add(line[..colon], line[(colon + 1)..].Trim());
                }

                break;
            default:
                throw new InvalidDataException($"{Name}: no section is called '{title}'");
        }
    }

    private void TakeBody(string text)
    {
        var plain = new MemoryStream();
        var coded = new MemoryStream();
        using var coder = CoderOf(_coding, coded);
        var pieces = new List<(byte[], int)>();
        var last = 0;
        foreach (Match mark in Mark().Matches(text))
        {
            Add(Encoding.UTF8.GetBytes(text[last..mark.Index]));
            last = mark.Index + mark.Length;
            var words = mark.Groups[1].Value.Split(' ');
            switch (words[0])
            {
                case "cr":
                    Add("\r"u8);
                    break;
                case "":
                    // Takes the line's end away.
                    last += last < text.Length && text[last] == '\n' ? 1 : 0;
                    break;
                case "pause":
                    Flush(int.Parse(words[1], CultureInfo.InvariantCulture));
                    break;
                default:
                    Add(Convert.FromHexString(words[0]));
                    break;
            }
        }

        Add(Encoding.UTF8.GetBytes(text[last..]));
        coder.Dispose();
        Flush(0);
        Pieces = pieces;
        Plain = plain.ToArray();

        void Add(ReadOnlySpan<byte> bytes)
        {
            plain.Write(bytes);
            coder.Write(bytes);
        }

        void Flush(int pauseMs)
        {
            if (coder.CanWrite)
                coder.Flush();
            pieces.Add((coded.ToArray(), pauseMs));
            coded.SetLength(0);
        }
    }

    private static Stream CoderOf(string coding, MemoryStream coded) => coding switch
    {
        "gzip" => new GZipStream(coded, CompressionLevel.Fastest, leaveOpen: true),
        "zlib" => new ZLibStream(coded, CompressionLevel.Fastest, leaveOpen: true),
        "deflate" => new DeflateStream(coded, CompressionLevel.Fastest, leaveOpen: true),
        "br" => new BrotliStream(coded, CompressionLevel.Fastest, leaveOpen: true),
        _ => new Unclosed(coded),
    };

    [GeneratedRegex(@"^=== (.*)\n", RegexOptions.Multiline)]
    private static partial Regex Section();

    [GeneratedRegex("«([^»]*)»")]
    private static partial Regex Mark();

    /// <summary>Stays open when what writes to it is closed.</summary>
    private sealed class Unclosed(MemoryStream inner) : Stream
    {
        public override bool CanRead => false;

        public override bool CanSeek => false;

        public override bool CanWrite => true;

        public override long Length => inner.Length;

        public override long Position { get => inner.Position; set => inner.Position = value; }

        public override void Flush()
        {
        }

        public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => inner.Write(buffer, offset, count);
    }
}
