using System.Globalization;
using System.Text;

namespace StreamingDaemon.Testing;

/// <summary>
/// Mutation fuzzing from a corpus. Tries each file under <c>tests/corpus/NAME</c> unchanged, then mutations
/// of them, until <c>FUZZ_ITERATIONS</c> inputs were tried (<c>bench/fuzz.sh</c> runs a million). The same
/// <c>FUZZ_SEED</c> gives the same inputs. A failure prints its input; add it to the corpus.
/// </summary>
public static class Fuzzing
{
    private const int DefaultIterations = 20_000;
    private const int LongestInput = 64 * 1024;

    public static void Run(string corpusName, IReadOnlyList<string> dictionary, Action<byte[], Random> target)
    {
        var corpus = Corpus(corpusName);
        var words = dictionary.Select(Encoding.UTF8.GetBytes).ToArray();
        var seed = Setting("FUZZ_SEED", Environment.TickCount);
        var random = new Random(seed);
        foreach (var input in corpus)
            Try(input);
        for (var i = corpus.Count; i < Setting("FUZZ_ITERATIONS", DefaultIterations); i++)
            Try(Mutate(corpus, words, random));

        void Try(byte[] input)
        {
            try
            {
                target(input, random);
            }
            catch (Exception e)
            {
                throw new InvalidOperationException(
                    $"FUZZ_SEED={seed}: this input fails: \"{Printable(input)}\"", e);
            }
        }
    }

    private static List<byte[]> Corpus(string name)
    {
        var files = Directory.GetFiles(Path.Combine(DaemonProcess.RepositoryRoot(), "tests", "corpus", name));
        if (files.Length == 0)
            throw new InvalidOperationException($"tests/corpus/{name} is empty");
        return [.. files.Order(StringComparer.Ordinal).Select(File.ReadAllBytes)];
    }

    private static byte[] Mutate(List<byte[]> corpus, byte[][] words, Random random)
    {
        var data = corpus[random.Next(corpus.Count)].ToList();
        for (var changes = 1 + random.Next(6); changes > 0 && data.Count < LongestInput; changes--)
        {
            var at = random.Next(data.Count + 1);
            var length = Math.Min(random.Next(1, 16), data.Count - at);
            switch (random.Next(7))
            {
                case 0:
                    data.RemoveRange(at, length);
                    break;
                case 1 when at < data.Count:
                    data[at] = (byte)random.Next(256);
                    break;
                case 2 when at < data.Count:
                    data[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 3:
                    data.InsertRange(at, words[random.Next(words.Length)]);
                    break;
                case 4:
                    data.InsertRange(at, data.GetRange(at, length));
                    break;
                case 5:
                    var other = corpus[random.Next(corpus.Count)];
                    var from = random.Next(other.Length + 1);
                    data.InsertRange(at, other[from..Math.Min(other.Length, from + random.Next(64))]);
                    break;
                default:
                    data.RemoveRange(at, data.Count - at);
                    break;
            }
        }

        return [.. data];
    }

    private static int Setting(string name, int otherwise) =>
        int.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture,
            out var value) ? value : otherwise;

    private static string Printable(byte[] input) => string.Concat(input.Select(b =>
        b is >= 0x20 and < 0x7f and not ((byte)'"' or (byte)'\\') ? ((char)b).ToString() : $"\\x{b:x2}"));
}
