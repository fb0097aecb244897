namespace StreamingDaemon.ApacheTests;

/// <summary>The directives of both modules: the values they take, and their errors for others.</summary>
public sealed class DirectiveTests
{
    private static readonly string[] s_modulesOfTheExample = ["mpm_event", "authz_core", "alias", "env", "dir"];

    [Theory]
    [InlineData("SocketHandoffConnectTimeoutMs 0", "must be between 1 and 60000")]
    [InlineData("SocketHandoffConnectTimeoutMs 60001", "must be between 1 and 60000")]
    [InlineData("SocketHandoffConnectTimeoutMs 100ms", "must be a valid integer")]
    [InlineData("SocketHandoffSendTimeoutMs -1", "must be between 1 and 60000")]
    [InlineData("SocketHandoffSendTimeoutMs 99999999999999999999", "must be between 1 and 60000")]
    [InlineData("SocketHandoffSendTimeoutMs 1.5", "must be a valid integer")]
    [InlineData("SocketHandoffMaxRetries 11", "must be between 0 and 10")]
    [InlineData("SocketHandoffMaxRetries two", "must be a valid integer")]
    [InlineData("SocketHandoffEnabled Maybe", "must be On or Off")]
    [InlineData("SocketHandoffTls Maybe", "must be On or Off")]
    [InlineData("<Directory />\nSocketHandoffTls Off\n</Directory>", "not allowed")]
    [InlineData("SocketHandoffAllowedPrefix run/", "must be an absolute path")]
    [InlineData("SocketHandoffForwardHeaders X-A None", "All and None stand alone")]
    [InlineData("SocketHandoffForwardHeaders all X-A", "All and None stand alone")]
    [InlineData("SocketHandoffForwardHeaders X-*-A", "a * may be a name's end")]
    [InlineData("SocketHandoffForwardHeaders", "requires at least one argument")]
    [InlineData("SocketHandoffAllowedPrefix", "takes one argument")]
    [InlineData("SocketHandoffAllowedPrefix /a /b", "takes one argument")]
    [InlineData("<Directory />\nSocketHandoffMaxRetries 1\n</Directory>", "not allowed")]
    public void Bad_value_is_refused_with_its_reason(string directive, string reason)
    {
        var (exitCode, output) = Check(directive);
        Assert.NotEqual(0, exitCode);
        Assert.Contains(reason, output, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("SocketHandoffConnectTimeoutMs 1")]
    [InlineData("SocketHandoffConnectTimeoutMs 60000")]
    [InlineData("SocketHandoffSendTimeoutMs 60000")]
    [InlineData("SocketHandoffMaxRetries 0")]
    [InlineData("SocketHandoffMaxRetries 10")]
    [InlineData("SocketHandoffEnabled Off")]
    [InlineData("SocketHandoffTls Off")]
    [InlineData("<Directory />\nSocketHandoffEnabled Off\n</Directory>")]
    [InlineData("<Location />\nSocketHandoffEnabled On\n</Location>")]
    [InlineData("SocketHandoffForwardHeaders none")]
    [InlineData("<Directory />\nSocketHandoffForwardHeaders Set-Cookie Access-Control-*\n</Directory>")]
    [InlineData("SocketHandoffAllowedPrefix \"\"")]
    [InlineData("SocketHandoffAllowedPrefix /var/run/not-there-yet")]
    public void Good_value_is_taken(string directive)
    {
        var (exitCode, output) = Check(directive);
        Assert.True(exitCode == 0, output);
    }

    [Theory]
    [InlineData("", true)]
    [InlineData("SocketHandoffTls Off", false)]
    public void Check_of_the_configuration_says_whether_the_kernel_can_send_tls(string directive, bool says)
    {
        var (exitCode, output) = Check(directive);
        Assert.Equal(0, exitCode);
        Assert.Equal(says, output.Contains("socket handoff: the kernel ", StringComparison.Ordinal));
    }

    [Fact]
    public void Example_configuration_is_valid()
    {
        string example = File.ReadAllText(Path.Combine(Tools.Repository, "apache", "handoff.conf"));
        string ours = example.Replace("LoadModule socket_handoff_module", "# ", StringComparison.Ordinal);
        Assert.NotEqual(example, ours);
        var (exitCode, output) = Check(ours);
        Assert.True(exitCode == 0, output);
    }

    [Fact]
    public void Example_and_readme_name_one_socket_that_the_example_s_prefix_allows()
    {
        const string socket = "/run/streaming-daemon/streaming-daemon.sock";
        foreach (string file in new[]
        {
            "README.md", "apache/handoff.conf", "apache/stream.php", "apache/mod_socket_handoff.c", "docs/apache.md",
            "deploy/systemd/streaming-daemon.socket",
        })
        {
            Assert.Contains(socket, File.ReadAllText(Path.Combine(Tools.Repository, file)), StringComparison.Ordinal);
        }
        string example = File.ReadAllText(Path.Combine(Tools.Repository, "apache", "handoff.conf"));
        Assert.Matches(@"(?m)^ +SocketHandoffAllowedPrefix +/run/$", example);
        Assert.Matches($"(?m)^ +SetEnv HANDOFF_SOCKET {socket}$", example);
    }

    private static (int ExitCode, string Output) Check(string directives)
    {
        string root = Directory.CreateTempSubdirectory("handoff-check-").FullName;
        try
        {
            string modules = string.Join('\n', s_modulesOfTheExample.Select(name =>
                $"LoadModule {name}_module {Tools.Modules}/mod_{name}.so"));
            string file = Path.Combine(root, "httpd.conf");
            File.WriteAllText(file, $"""
                ServerRoot {root}
                ServerName localhost
                DefaultRuntimeDir {root}
                ErrorLog {root}/error.log
                Listen 127.0.0.1:1
                {modules}
                LoadModule socket_handoff_module {Tools.HandoffModule}
                LoadModule socket_handoff_tls_module {Tools.TlsModule}
                {directives}

                """);
            return ChildProcess.Run(Tools.Apache, "-t", "-f", file);
        }
        finally
        {
            Directory.Delete(root, recursive: true);
        }
    }
}
