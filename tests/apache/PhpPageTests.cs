using System.Text.RegularExpressions;

namespace StreamingDaemon.ApacheTests;

/// <summary>The code of docs/php.md, and the PHP of docs/answers.md.</summary>
public sealed partial class PhpPageTests
{
    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory]
    [InlineData("php.md", 6)]
    [InlineData("answers.md", 1)]
    public void Code_of_the_page_is_php(string page, int least)
    {
        string directory = Directory.CreateTempSubdirectory("handoff-page-").FullName;
        try
        {
            var blocks = Blocks(page);
            Assert.True(blocks.Count >= least, $"{blocks.Count} blocks");
            foreach (string block in blocks)
            {
                string file = Path.Combine(directory, "block.php");
                File.WriteAllText(file, block.StartsWith("<?php", StringComparison.Ordinal) ? block : "<?php\n" + block);
                var (exitCode, output) = ChildProcess.Run(Tools.Php, "-l", file);
                Assert.True(exitCode == 0, output + block);
            }
        }
        finally
        {
            Directory.Delete(directory, recursive: true);
        }
    }

    [Theory, MemberData(nameof(Both))]
    public void First_example_streams_for_a_user_and_refuses_the_others(Stack stack)
    {
        using var apache = new ApacheServer(stack);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        PhpLibraryTests.CopyLibrary(apache);
        // The site's own parts: where the daemon listens, and who has signed in.
        const string socket = "/run/streaming-daemon/streaming-daemon.sock", start = "session_start();";
        string page = Blocks("php.md")[0];
        Assert.Contains(socket, page, StringComparison.Ordinal);
        Assert.Contains(start, page, StringComparison.Ordinal);
        File.WriteAllText(apache.Root + "/www/page.php", page
            .Replace(socket, apache.DefaultSocket, StringComparison.Ordinal)
            .Replace(start, "session_save_path(dirname(__DIR__) . '/sessions');\n" + start
                + "\nif (isset($_GET['user'])) { $_SESSION['user_id'] = 7; }", StringComparison.Ordinal));

        Assert.Equal(403, Curl.Status("-d", "prompt=hello", apache.Url("/page.php")));
        string answer = Curl.Run("-i", "-d", "prompt=hello", apache.Url("/page.php?user=1"));
        Expect.WholeStream(answer);
        Assert.Contains("Set-Cookie: PHPSESSID=", answer, StringComparison.Ordinal);
        Assert.Equal(400, Curl.Status("-d", "prompt=", apache.Url("/page.php?user=1")));
    }

    internal static List<string> Blocks(string page) =>
        [.. Block().Matches(File.ReadAllText(Path.Combine(Tools.Repository, "docs", page)))
            .Select(match => match.Groups[1].Value)];

    [GeneratedRegex("^```php\n(.*?)^```$", RegexOptions.Multiline | RegexOptions.Singleline)]
    private static partial Regex Block();
}
