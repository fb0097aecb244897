using System.Diagnostics;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>
/// The programs that check the files of deploy/. A missing one fails its tests and says what to install.
/// </summary>
internal static class Tool
{
    /// <summary>Some build a whole Debian root.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(10);

    public static string SystemdAnalyze => Find("systemd-analyze", "systemd");
    public static string Promtool => Find("promtool", "prometheus");
    public static string Prometheus => Find("prometheus", "prometheus");
    public static string Caddy => Find("caddy", "caddy");
    /// <summary>Helm's engine needs only Go's standard library; its functions are these packages.</summary>
    public const string GoPackages = "golang-go golang-github-masterminds-sprig-dev golang-github-ghodss-yaml-dev";

    public static string Go => Find("go", GoPackages);
    public static string Node => Find("node", "nodejs");
    public static string Npm => Find("npm", "npm");
    public static string Gcc => Find("gcc", "gcc libc6-dev");

    /// <summary>A file or directory of the repository.</summary>
    public static string InRepository(params string[] parts) =>
        Path.Combine([DaemonProcess.RepositoryRoot(), .. parts]);

    /// <summary>Another test program, built together with these.</summary>
    public static string BesideTheseTests(string project)
    {
        var configuration = AppContext.BaseDirectory.Contains("/Release/", StringComparison.Ordinal)
            ? "Release" : "Debug";
        return InRepository("tests", project, "bin", configuration, "net10.0", project);
    }

    /// <summary>Runs to the end; returns the output, errors included.</summary>
    public static async Task<(int ExitCode, string Output)> RunAsync(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        };
        // Otherwise systemd's programs and others colour or page their output.
        start.Environment["NO_COLOR"] = "1";
        using var process = Process.Start(start)!;
        var output = process.StandardOutput.ReadToEndAsync();
        var error = process.StandardError.ReadToEndAsync();
        await process.WaitForExitAsync().WaitAsync(s_patience);
        return (process.ExitCode, await output + await error);
    }

    /// <summary>A C program of these tests.</summary>
    public static async Task<string> CompileAsync(TempDirectory directory, string name, params string[] libraries)
    {
        var program = directory.File(name);
        var (exitCode, said) = await RunAsync(Gcc,
            ["-Wall", "-Werror", "-o", program, Path.Combine(AppContext.BaseDirectory, name + ".c"), .. libraries]);
        Assert.True(exitCode == 0, $"{said}\nThese tests need: apt-get install libc6-dev libseccomp-dev");
        return program;
    }

    private static string Find(string program, string package) =>
        (Environment.GetEnvironmentVariable("PATH") + ":/usr/sbin:/usr/bin:/bin").Split(':')
            .Select(directory => Path.Combine(directory, program)).FirstOrDefault(File.Exists)
        ?? throw new InvalidOperationException(
            $"{program} is missing. These tests need it: apt-get install {package}");
}
