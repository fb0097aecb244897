namespace StreamingDaemon.DocsTests;

/// <summary>The control: running a page that lies fails.</summary>
public sealed class LieTests
{
    [Theory]
    [InlineData("make -C apache instal")]
    [InlineData("cp apache/handoff.config /etc/apache2/conf-available/")]
    [InlineData("apt-get install streaming-daemon-from-nowhere")]
    [InlineData("systemctl restart streaming-demon")]
    [InlineData("cp deploy/systemd/* /etc/systemd/system/; systemctl is-active streaming-daemon.socket")]
    [InlineData("cp deploy/systemd/* /etc/systemd/system/; systemctl start streaming-daemon.socket")]
    [InlineData("systemctl reloaded apache2")]
    [InlineData("systemctl enable --know apache2")]
    [InlineData("dotnet publish -c Debug -r linux-x64 src/StreamingDaemon.Host -o artifacts/aot")]
    [InlineData("dotnet build tests/deployment")]
    [InlineData("false\ntrue")]
    [InlineData("cat /absent | true")]
    public async Task Command_that_does_not_do_what_it_should_fails_where_it_is_run(string lie)
    {
        var command = Book.CommandsOf("made-up.md", $"```sh\n{lie}\n```").Single();
        await using var machine = await Machine.StartAsync();

        await Assert.ThrowsAsync<CommandFailedException>(() => machine.ShellAsync(command.Text));
    }

    [Fact]
    public async Task What_is_run_changes_nothing_outside()
    {
        await using (var machine = await Machine.StartAsync())
        {
            await machine.ShellAsync("rm test.sh; touch new /new; test ! -e test.sh");
            // The only network there is its own loopback.
            Assert.Matches("^ *lo:[^\n]*\n$", await machine.ShellAsync("tail -n +3 /proc/net/dev"));
        }

        Assert.True(File.Exists(Path.Combine(Machine.Repository, "test.sh")));
        Assert.False(File.Exists(Path.Combine(Machine.Repository, "new")) || File.Exists("/new"));
    }
}
