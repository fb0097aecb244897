using System.Text;

namespace StreamingDaemon.ApacheTests;

/// <summary>What docs/php.md gives to sites with a framework, in that framework: Debian's packages of them.</summary>
public sealed class FrameworkTests
{
    private const string DocumentedSocket = "/run/streaming-daemon/streaming-daemon.sock";

    public static TheoryData<Stack> Both => SharedServers.Both;

    [Theory, MemberData(nameof(Both))]
    public void Symfonys_controller_streams_for_its_users_and_refuses_the_others(Stack stack)
    {
        Need("/usr/share/php/Symfony/Bundle/SecurityBundle", "php-symfony-framework-bundle php-symfony-security-bundle");
        using var apache = Start(stack, "symfony.php");
        Paste(apache, "extends AbstractController", "controller.php");
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string url = apache.Url("/symfony.php");

        Assert.Equal(401, Curl.Status("-d", "prompt=hello", url));
        Assert.Equal(403, Curl.Status("-u", "guest:secret", "-d", "prompt=hello", url));
        Assert.Equal(400, Curl.Status("-u", "ada:secret", "-d", "prompt=", url));
        Assert.Equal(400, Curl.Status("-u", "ada:secret", "-d", "prompt=%ff", url));
        string answer = Curl.Run("-i", "-u", "ada:secret", "-d", "prompt=hello", url);
        StreamsWithCookie(answer, "PHPSESSID");
    }

    [Theory, MemberData(nameof(Both))]
    public void Laravels_route_streams_through_its_middleware_and_refuses_the_others(Stack stack)
    {
        Need("/usr/share/php/Illuminate/Foundation", "php-laravel-framework");
        using var apache = Start(stack, "laravel.php");
        Paste(apache, "Route::post", "route.php");
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string url = apache.Url("/laravel.php/chat"), jar = apache.Root + "/jar";
        string token = "_token=" + Curl.Run("-c", jar, apache.Url("/laravel.php/token")).Trim();
        string[] signedIn = ["-b", jar, "-H", "X-User: 7", "-H", "Accept: application/json", "-d", token];

        const int noToken = 419;
        Assert.Equal(noToken, Curl.Status("-b", jar, "-H", "X-User: 7", "-H", "Accept: application/json", "-d", "prompt=hello", url));
        Assert.Equal(401, Curl.Status("-b", jar, "-H", "Accept: application/json", "-d", token, "-d", "prompt=hello", url));
        Assert.Equal(422, Curl.Status([.. signedIn, "-d", "prompt=", url]));
        Assert.Equal(400, Curl.Status([.. signedIn, "-d", "prompt=%ff", url]));
        StreamsWithCookie(Curl.Run(["-i", .. signedIn, "-d", "prompt=hello", url]), "laravel_session");
    }

    [Theory, MemberData(nameof(Both))]
    public void WordPress_route_streams_for_who_is_signed_in_and_refuses_the_others(Stack stack)
    {
        Need("/usr/share/wordpress/wp-settings.php", "wordpress");
        Need("/usr/sbin/mariadbd", "mariadb-server-core php-mysql");
        using var apache = Start(stack, "wordpress.php");
        Paste(apache, "rest_api_init", "mu-plugins/chat.php");
        Directory.CreateDirectory(apache.Root + "/wp-content/themes");
        using var database = StartDatabase(apache);
        var (exitCode, said) = ChildProcess.Run(Tools.Php, apache.Root + "/www/wordpress.php");
        Assert.True(exitCode == 0 && said.EndsWith("installed\n", StringComparison.Ordinal), said);
        using var daemon = new DaemonUnderTest(apache.DefaultSocket, delayMs: 0);
        string url = apache.Url("/wordpress.php"), route = url + "?rest_route=/chat/v1/ask", jar = apache.Root + "/jar";
        _ = Curl.Run("-c", jar, url + "?login=1");
        string nonce = "X-WP-Nonce: " + Curl.Run("-b", jar, url + "?nonce=1").Trim();

        Assert.Equal(401, Curl.Status("-d", "prompt=hello", route));
        Assert.Equal(401, Curl.Status("-b", jar, "-d", "prompt=hello", route));
        Assert.Equal(400, Curl.Status("-b", jar, "-H", nonce, "-d", "other=x", route));
        Assert.Equal(400, Curl.Status("-b", jar, "-H", nonce, "-d", "prompt=", route));
        string answer = Curl.Run("-i", "-b", jar, "-H", nonce, "-d", "prompt=hello", route);
        Expect.WholeStream(answer);
        Expect.NoHandoffHeaders(answer);
        // What WordPress sets comes with the stream.
        Assert.Contains("X-WP-Nonce: ", answer, StringComparison.OrdinalIgnoreCase);
    }

    private static void StreamsWithCookie(string answer, string cookie)
    {
        Expect.WholeStream(answer);
        Expect.NoHandoffHeaders(answer);
        Assert.Contains($"Set-Cookie: {cookie}=", answer, StringComparison.OrdinalIgnoreCase);
    }

    private static void Need(string path, string packages)
    {
        if (!Path.Exists(path))
            Assert.Skip($"NOT TESTED: {path} is missing (apt-get install {packages}).");
    }

    private static ApacheServer Start(Stack stack, string site)
    {
        // httpd gives php-fpm no password of HTTP Basic unless it is told to.
        var apache = new ApacheServer(stack, extra: "<Location /symfony.php>\nCGIPassAuth On\n</Location>");
        PhpLibraryTests.CopyLibrary(apache);
        File.Copy(Path.Combine(AppContext.BaseDirectory, "frameworks", site), Path.Combine(apache.Root, "www", site));
        return apache;
    }

    /// <summary>The page's code as it stands there, but for the socket.</summary>
    private static void Paste(ApacheServer apache, string sign, string file)
    {
        string code = PhpPageTests.Blocks("php.md").Single(block => block.Contains(sign, StringComparison.Ordinal));
        Assert.Contains(DocumentedSocket, code, StringComparison.Ordinal);
        string path = Path.Combine(apache.Root, file);
        Directory.CreateDirectory(Path.GetDirectoryName(path)!);
        File.WriteAllText(path, "<?php\n" + code.Replace(DocumentedSocket, apache.DefaultSocket, StringComparison.Ordinal),
            new UTF8Encoding(false));
    }

    private static ChildProcess StartDatabase(ApacheServer apache)
    {
        string data = Directory.CreateDirectory(apache.Root + "/database").FullName, socket = apache.SocketDirectory + "/db.sock";
        var database = new ChildProcess("/usr/sbin/mariadbd", ["--no-defaults", $"--user={Environment.UserName}",
            $"--datadir={data}", $"--socket={socket}", $"--pid-file={data}/pid", "--skip-networking", "--skip-grant-tables",
            "--innodb-buffer-pool-size=16M"]);
        Wait.Until(() => File.Exists(socket) || database.HasExited, () => database.Output);
        return database;
    }
}
