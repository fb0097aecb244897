using System.Globalization;
using System.Security.Cryptography;
using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary><c>apache/deliver.php</c> in httpd: what a real receiver does with real deliveries.</summary>
public sealed class DeliveryTests : IDisposable
{
    private const string Secret = "whsec_plJ3nmyCDGBKInavdOK15jsl";
    private const string Answer = """
        {"type":"answer.ended","id":"msg_1","request_id":"r-1","user_id":7,"outcome":"Completed","content":"日本","timings":{"ended_at":"2026-01-02T03:04:05.000Z"},"delivery":{"conversation":12}}
        """;

    private readonly string _data = Directory.CreateTempSubdirectory("handoff-delivery-").FullName;

    public static TheoryData<Stack> Both => SharedServers.Both;

    public void Dispose() => Directory.Delete(_data, recursive: true);

    [Theory, MemberData(nameof(Both))]
    public void Answers_of_the_daemon_are_rows_of_the_database(Stack stack)
    {
        using var apache = Start(stack);
        string configuration = Path.Combine(_data, "daemon.toml");
        File.WriteAllText(configuration, $"""
            [delivery]
            url = "{apache.Url("/deliver.php")}"
            secret_file = "{SecretFile}"
            spool_dir = "{Path.Combine(_data, "spool")}"
            which = "all"
            """);
        using var daemon = new DaemonUnderTest(
            apache.DefaultSocket, delayMs: 0, more: ["--config", configuration]);

        string answer = Curl.Run("-i", apache.Url(ApacheServer.HandoffPath(apache.DefaultSocket,
            """{"prompt":"hello","user_id":7,"request_id":"r-2","delivery":{"conversation":"c-9"}}""")));

        Expect.WholeStream(answer);
        Wait.Until(() => Rows() == "r-2|7|c-9|Completed", () => Rows() + apache.Log);
    }

    [Theory, MemberData(nameof(Both))]
    public void Repeat_changes_nothing_and_a_wrong_signature_is_refused(Stack stack)
    {
        using var apache = Start(stack);

        Assert.Equal(204, Post(apache, Answer, "msg_1"));
        Assert.Equal(204, Post(apache, Answer, "msg_1"));
        Assert.Equal(401, Post(apache, Answer.Replace("日本", "other", StringComparison.Ordinal), "msg_1", signed: Answer));
        Assert.Equal(400, Post(apache, "[1]", "msg_1"));
        Assert.Equal(405, Curl.Status(apache.Url("/deliver.php")));

        Assert.Equal("r-1|7|12|Completed", Rows());
    }

    [Theory, MemberData(nameof(Both))]
    public void Secret_that_changes_refuses_nothing_while_both_are_in_the_file(Stack stack)
    {
        using var apache = Start(stack);
        File.WriteAllText(SecretFile, $"whsec_bmV3\n{Secret}\n");
        Assert.Equal(204, Post(apache, Answer, "msg_1"));

        File.WriteAllText(SecretFile, "whsec_bmV3\n");
        Assert.Equal(401, Post(apache, Answer, "msg_1"));
        // A slip of the hand is no reason for a dead letter.
        File.WriteAllText(SecretFile, "whsec_*\n");
        Assert.Equal(500, Post(apache, Answer, "msg_1"));
    }

    [Theory, MemberData(nameof(Both))]
    public void Delivery_of_a_clock_that_is_wrong_is_tried_again_and_a_replay_writes_nothing(Stack stack)
    {
        using var apache = Start(stack);

        Assert.Equal(503, Post(apache, Answer, "msg_1", seconds: -301));
        Assert.Equal(503, Post(apache, Answer, "msg_1", seconds: 310));
        Assert.Equal("", Rows());
        Assert.Equal(204, Post(apache, Answer, "msg_1", seconds: -290));
    }

    [Theory, MemberData(nameof(Both))]
    public void What_the_site_lacks_is_an_error_that_the_daemon_tries_again(Stack stack)
    {
        using var apache = Start(stack);
        Directory.Delete(DatabaseDirectory, recursive: true);
        Assert.Equal(503, Post(apache, Answer, "msg_1"));

        File.Delete(SecretFile);
        Assert.Equal(500, Post(apache, Answer, "msg_1"));
    }

    /// <summary>As a site pastes it. What a 401 refuses never comes again.</summary>
    [Theory, MemberData(nameof(Both))]
    public void Code_of_the_pages_tells_a_late_delivery_from_a_forged_one(Stack stack)
    {
        using var apache = Start(stack);
        File.WriteAllText(SecretFile, $"whsec_bmV3\n{Secret}\n");
        foreach (string page in new[] { "php.md", "delivery.md" })
        {
            string code = PhpPageTests.Blocks(page).Single(block => block.Contains("verify(", StringComparison.Ordinal));
            File.WriteAllText(apache.Root + "/www/paste.php", code.StartsWith("<?php", StringComparison.Ordinal)
                ? code.Replace("/etc/streaming-daemon/delivery-secret", SecretFile, StringComparison.Ordinal)
                : "<?php\nrequire __DIR__ . '/php/autoload.php';\n" + code);

            Assert.Equal(200, Post(apache, Answer, "msg_1", to: "/paste.php"));
            Assert.Equal(503, Post(apache, Answer, "msg_1", seconds: -301, to: "/paste.php"));
            Assert.Equal(401, Post(apache, Answer, "msg_1", signed: "{}", to: "/paste.php"));
        }
    }

    private string SecretFile => Path.Combine(_data, "secret");

    private string DatabaseDirectory => Path.Combine(_data, "database");

    private string DatabaseFile => Path.Combine(DatabaseDirectory, "chat.sqlite");

    private ApacheServer Start(Stack stack)
    {
        const UnixFileMode everybody = (UnixFileMode)0b111_111_111;
        File.SetUnixFileMode(_data, everybody);
        File.WriteAllText(SecretFile, Secret + "\n");
        File.SetUnixFileMode(Directory.CreateDirectory(DatabaseDirectory).FullName, everybody);
        var apache = new ApacheServer(stack, extra: $"""
            SetEnv DELIVERY_SECRET_FILE {SecretFile}
            SetEnv DELIVERY_DATABASE {DatabaseFile}
            SetEnv DELIVERY_SECRET {Secret}
            """);
        PhpLibraryTests.CopyLibrary(apache);
        // Beside its library, as in the repository.
        Directory.Move(apache.Root + "/php", apache.Root + "/www/php");
        File.Copy(Path.Combine(Tools.Repository, "apache", "deliver.php"), apache.Root + "/www/deliver.php");
        return apache;
    }

    private static int Post(ApacheServer apache, string body, string id, string? signed = null, int seconds = 0,
        string to = "/deliver.php")
    {
        string timestamp = (DateTimeOffset.UtcNow.ToUnixTimeSeconds() + seconds).ToString(CultureInfo.InvariantCulture);
        byte[] content = Encoding.UTF8.GetBytes($"{id}.{timestamp}.{signed ?? body}");
        string signature = Convert.ToBase64String(HMACSHA256.HashData(Convert.FromBase64String(Secret[6..]), content));
        return Curl.Status("-H", $"webhook-id: {id}", "-H", $"webhook-timestamp: {timestamp}",
            "-H", $"webhook-signature: v1,{signature}", "-H", "Content-Type: application/json",
            "--data-binary", body, apache.Url(to));
    }

    private string Rows()
    {
        const string select = "$d = new PDO('sqlite:' . $argv[1]); foreach ($d->query('SELECT request_id, user_id, "
            + "conversation, outcome FROM answers', PDO::FETCH_NUM) as $r) { echo implode('|', $r), \"\\n\"; }";
        return File.Exists(DatabaseFile) ? ChildProcess.Run(Tools.Php, "-r", select, DatabaseFile).Output.Trim() : "";
    }
}
