using System.Text.RegularExpressions;

namespace StreamingDaemon.DocsTests;

/// <summary>The image of Apache, whose base is unavailable here: its Dockerfile's steps, on a machine with
/// the same programs from Debian.</summary>
[Trait("Needs", "NativeAot")]
public sealed partial class ApacheImageTests
{
    [Fact]
    public async Task Steps_of_the_image_make_an_apache_that_hands_over()
    {
        await using var machine = await Machine.StartAsync();
        var steps = string.Join('\n', Steps(await machine.ShellAsync("cat apache/Dockerfile")));

        var said = await machine.ShellAsync($"{steps}\nenv | grep ^HANDOFF_SOCKET= >/etc/environment-of-the-image");

        Assert.Contains("Syntax OK", said, StringComparison.Ordinal);
        await machine.ShellAsync("""
            set -a; . /etc/environment-of-the-image; set +a
            unset OPENAI_API_KEY
            install -d -o www-data -g www-data -m 750 "${HANDOFF_SOCKET%/*}"
            setpriv --reuid www-data --regid www-data --clear-groups /native/streaming-daemon \
              --socket "$HANDOFF_SOCKET" >/tmp/log 2>&1 </dev/null &
            apache2ctl start
            """);
        await machine.UntilAsync("grep -q 'listening on' /tmp/log");
        Assert.Contains("<title>", await machine.ShellAsync("curl --silent --fail http://127.0.0.1/chat/"),
            StringComparison.Ordinal);
        var answer = await machine.ShellAsync(
            """curl --silent --no-buffer --json '{"prompt":"hello"}' http://127.0.0.1/chat/stream.php""");
        Assert.EndsWith("data: [DONE]\n\n", answer, StringComparison.Ordinal);
    }

    /// <summary>The kernel of the tests may have no TLS: tests/vm has one that streams over it.</summary>
    [Fact]
    public async Task Profile_tls_serves_https_from_apache_which_says_whether_the_kernel_can()
    {
        await using var machine = await Machine.StartAsync();
        await machine.ShellAsync(string.Join('\n', Steps(await machine.ShellAsync("cat apache/Dockerfile"))));

        await machine.ShellAsync("""
            mkdir -p /certificates && ln -s "$PWD/deploy/tls" /tls
            /tls/start.sh apache2ctl start
            """);

        await machine.UntilAsync("grep -q 'socket handoff: the kernel ' /var/log/apache2/error.log");
        Assert.Contains("<title>",
            await machine.ShellAsync("curl --silent --fail --cacert /certificates/localhost.pem https://localhost/chat/"),
            StringComparison.Ordinal);
    }

    /// <summary>A Dockerfile's steps as shell commands, in the repository's directory.</summary>
    private static IEnumerable<string> Steps(string dockerfile)
    {
        foreach (Match step in Instruction().Matches(dockerfile.Replace("\\\n", " ", StringComparison.Ordinal)))
        {
            var (name, text) = (step.Groups[1].Value, step.Groups[2].Value.Trim());
            var words = text.Split(' ');
            switch (name)
            {
                // Both begin from this machine's state: Apache, PHP and the packages that the first stage
                // installs.
                case "FROM" or "ARG" or "WORKDIR":
                case "RUN" when text.StartsWith("apt-get ", StringComparison.Ordinal):
                // The module is built next to its source.
                case "COPY" when words[^1] == "./":
                    break;
                case "RUN" when text == "make":
                    yield return "make -C apache";
                    break;
                case "RUN":
                    yield return text;
                    break;
                case "ENV":
                    yield return $"export {text}";
                    break;
                case "COPY":
                    yield return $"mkdir -p {words[^1]}";
                    var sources = words[..^1].Where(w => !w.StartsWith("--", StringComparison.Ordinal))
                        .Select(w => $"apache/{w.Replace("/module/", "", StringComparison.Ordinal)}");
                    yield return $"cp {string.Join(' ', sources)} {words[^1]}";
                    break;
                default:
                    throw new InvalidOperationException($"not known here: {step.Value}");
            }
        }
    }

    [GeneratedRegex("^([A-Z]+) (.*)$", RegexOptions.Multiline)]
    private static partial Regex Instruction();
}
