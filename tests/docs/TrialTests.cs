namespace StreamingDaemon.DocsTests;

/// <summary>What the pages tell a reader to type right after cloning the repository.</summary>
public sealed class TrialTests
{
    private const string ReadMe = "README.md";
    private const string Contributing = "CONTRIBUTING.md";
    private const string Bench = "bench/README.md";
    private const string Apache = "docs/apache.md";
    private const string ElsewhereBuilt = "make BUILD=/tmp/x";
    private const string WithoutTls = "make TLS=no";
    private const string OtherApxs = "make APXS=/path/to/apxs";
    private const string Demo = "dotnet run -c Release --project src/StreamingDaemon.Host -- demo";
    private const string OneProject = "dotnet build tests/deploy";
    private const string References = @"UPDATE_REFERENCE_PAGES=1 dotnet run --project tests/StreamingDaemon.Host.Tests -- \";
    private const string Floor = "gcc -O2 bench/floor.c -luring -o floor && ./floor 5000 20 60 unix uring";

    [Fact]
    [Runs(ReadMe, Demo)]
    public async Task Demo_answers_in_the_terminal_and_serves_the_page_until_it_is_interrupted()
    {
        await using var machine = await Machine.StartAsync();

        // A key would choose the backend openai.
        var demo = await machine.BeginAsync(ReadMe, Demo, "http://127.0.0.1:8080/", "unset OPENAI_API_KEY");

        Assert.Contains("\nUser ID: 0\n", demo.Output, StringComparison.Ordinal);
        await machine.UntilAsync("curl --fail --silent http://127.0.0.1:8080/ | grep '<title>'");
        Assert.Equal(0, await demo.InterruptAsync());
    }

    [Fact]
    [Runs(Contributing, OneProject)]
    public async Task One_projects_tests_or_one_class_of_them_run_as_contributors_are_told()
    {
        await using var machine = await Machine.StartAsync();

        Assert.Matches(@"Total: [1-9]\d*, Errors: 0, Failed: 0", await machine.RunAsync(Contributing, OneProject));
    }

    [Fact]
    [Runs(Contributing, References)]
    public async Task Reference_pages_are_written_again()
    {
        await using var machine = await Machine.StartAsync();
        const string Pages = "streaming-daemon.toml docs/configuration.md deploy/debian/streaming-daemon.1";
        await machine.ShellAsync(
            $"cp --parents {Pages} /tmp; sed -i '/^# metrics_port/d; s/Port of .metrics/Old words/' {Pages}");
        foreach (var page in Pages.Split(' '))
            await machine.ShellAsync($"! cmp --silent {page} /tmp/{page}");

        await machine.RunAsync(Contributing, References);

        foreach (var page in Pages.Split(' '))
            await machine.ShellAsync($"cmp {page} /tmp/{page}");
    }

    [Fact]
    [Runs(Apache, ElsewhereBuilt)]
    [Runs(Apache, WithoutTls)]
    [Runs(Apache, OtherApxs)]
    public async Task Module_is_built_elsewhere_and_for_another_httpd()
    {
        await using var machine = await Machine.StartAsync();
        await machine.ShellAsync("mkdir -p /path/to; ln -s $(command -v apxs) /path/to/apxs");

        await machine.RunAsync(Apache, ElsewhereBuilt, "apache");
        await machine.ShellAsync("test -e /tmp/x/.libs/mod_socket_handoff.so; test ! -e apache/build");

        await machine.RunAsync(Apache, WithoutTls, "apache");
        await machine.ShellAsync("test ! -e apache/build/.libs/mod_socket_handoff_tls.so");
        Assert.Contains("/path/to/apxs -c", await machine.RunAsync(Apache, OtherApxs, "apache"), StringComparison.Ordinal);
    }

    [Fact]
    [Runs(Bench, Floor)]
    public async Task Floor_is_compiled_and_measured()
    {
        await using var machine = await Machine.StartAsync();

        Assert.Contains("uring", await machine.RunAsync(Bench, Floor), StringComparison.Ordinal);
    }
}
