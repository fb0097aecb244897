using StreamingDaemon.Backends;
using StreamingDaemon.Backends.Mock;
using StreamingDaemon.Host.Cli;
using StreamingDaemon.Host.Commands;
using StreamingDaemon.Host.Configuration;
using StreamingDaemon.Host.Hosting;
using StreamingDaemon.Host.Runtime;
using StreamingDaemon.Host.Tests.Cli;
using StreamingDaemon.Host.Tests.Configuration.Echo;
using StreamingDaemon.Testing;
using StreamingDaemon.Uring;
using Xunit;

namespace StreamingDaemon.Host.Tests.Configuration;

/// <summary>A backend is a folder (Echo) and a line: everything else follows from its descriptor.</summary>
public sealed class NewBackendTests : IDisposable
{
    /// <summary>The line.</summary>
    private static readonly OptionTable s_table = new([.. BackendDescriptors.BuiltIn, new EchoDescriptor()]);

    private readonly Sandbox _sandbox = new() { Table = s_table };

    public void Dispose() => _sandbox.Dispose();

    [Fact]
    public void File_environment_and_command_line_set_its_options()
    {
        _sandbox.Environment["ECHO_TIMES"] = "3";
        _sandbox.Write("streaming-daemon.toml", "[echo]\ntimes = 2\nprefix = \"heard\"\n");

        Assert.Equal(new EchoOptions { Times = 3, Prefix = "heard" }, Echo(_sandbox.Load()));
        Assert.Equal(new EchoOptions { Times = 4, Prefix = "heard" }, Echo(_sandbox.Load(("echo:times", "4"))));
    }

    [Theory]
    [InlineData("[echo]\ntimez = 1\n", "streaming-daemon.toml:2: echo.timez: unknown key; did you mean echo.times?")]
    [InlineData("[echo]\ntimes = 101\n",
        "streaming-daemon.toml:2: echo.times: 101 is out of range; expected an integer from 0 to 100")]
    [InlineData("[ecco]\ntimes = 1\n", "streaming-daemon.toml:1: [ecco]: unknown section; did you mean [echo]?")]
    [InlineData("[backend]\nname = \"ecco\"\n", "streaming-daemon.toml:2: backend.name: \"ecco\" is unknown, "
        + "did you mean echo; expected mock, openai or echo")]
    [InlineData("[backend]\nname = \"echo\"\n", "backend echo: nothing to repeat. Set ECHO_TIMES")]
    public void Mistakes_with_it_are_explained_like_any_other(string toml, string error) =>
        Assert.Equal(error, _sandbox.TomlError(toml));

    [Fact]
    public async Task Help_and_sample_file_name_its_options()
    {
        var invocation = new Invocation();

        Assert.Equal(ExitCode.Success, await invocation.RunAsync(_sandbox, "--help"));

        Assert.Contains("--echo-times", invocation.Output, StringComparison.Ordinal);
        Assert.Contains("ECHO_TIMES", invocation.Output, StringComparison.Ordinal);
        Assert.Contains("# prefix = \"echo\"", ReferencePages.Toml(s_table), StringComparison.Ordinal);
        Assert.Contains("echo repeats the prompt.", ReferencePages.Toml(s_table), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Command_line_chooses_it_and_sets_its_options()
    {
        var invocation = new Invocation();

        await invocation.RunAsync(_sandbox, "--backend", "echo", "--echo-times", "5");

        Assert.Equal("", invocation.Error);
        Assert.Equal(5, Echo(invocation.Actions.Options!).Times);
    }

    [Fact]
    public void Check_and_the_limit_of_descriptors_count_it_if_it_can_be_made()
    {
        var without = _sandbox.Load();
        var with = _sandbox.Load(("echo:times", "2"));

        Assert.Empty(CheckReport.OfBackends(without.Backends));
        Assert.Equal(new CheckResult("echo", CheckStatus.Ok, "repeats 2 times"),
            Assert.Single(CheckReport.OfBackends(with.Backends)));
        Assert.Equal((1, 3), (DaemonHost.ServerOptionsOf(without).DescriptorsPerConnection,
            DaemonHost.ServerOptionsOf(with).DescriptorsPerConnection));
    }

    [Fact]
    public void Reload_that_changes_its_options_asks_for_a_restart()
    {
        var running = new ReloadableOptions(_sandbox.Load(("echo:times", "2")));

        var (changed, needRestart) = running.Apply(_sandbox.Load(("echo:times", "3")));

        Assert.Empty(changed);
        Assert.Equal(["echo.times"], needRestart);
    }

    [Fact]
    public async Task Handoff_that_names_it_is_answered_by_it()
    {
        var options = _sandbox.Load(("echo:times", "2"), ("server:socket", _sandbox.PathOf("s")),
            ("performance:ring_entries", "64"), ("logging:level", "error"));
        using var daemon = new DaemonRun(options, () => options);
        await daemon.StartAsync(default);
        using var client = TestClient.HandOver(
            _sandbox.PathOf("s"), """{"backend": "echo", "prompt": "hello"}""");

        var answer = await TestClient.ReadTextAsync(client);

        Assert.Equal(2, answer.Split("echo: hello").Length - 1);
        daemon.Drain.Begin();
        Assert.Equal(ExitCode.Success, await daemon.WaitAsync(default).WaitAsync(TestClient.Patience));
    }

    [Fact]
    public void Two_backends_with_one_name_fail_before_anything_is_read() =>
        Assert.Throws<ArgumentException>(() => new OptionTable([.. BackendDescriptors.BuiltIn, new MockDescriptor()]));

    private static EchoOptions Echo(DaemonOptions options) => (EchoOptions)options.Backends.Of("echo").Options;
}
