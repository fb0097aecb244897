using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.VmTests;

/// <summary>
/// One run of the virtual machine: Debian's 6.1 kernel with Apache, PHP, the daemon's AOT binary and clients, under qemu.
/// What happens inside is in guest/. Made and run once, by whichever test comes first.
/// </summary>
internal sealed partial class VirtualMachine
{
    /// <summary>Emulation takes a minute or two; a busy machine more.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(8);

    private static readonly Lazy<Task> s_image = new(MakeImageAsync);

    private static readonly Lazy<Task<VirtualMachine>> s_tls = new(() => RunAsync("tls"));

    private readonly Dictionary<string, string?> _problems = [];
    private readonly string _output;

    private VirtualMachine(string output)
    {
        _output = output;
        foreach (var line in output.Split('\n').Where(line => line.StartsWith("{\"case\"", StringComparison.Ordinal)))
        {
            using var result = JsonDocument.Parse(line);
            _problems[result.RootElement.GetProperty("case").GetString()!] =
                result.RootElement.GetProperty("problem").GetString();
        }
    }

    public static string Directory { get; } = Path.Combine(DaemonProcess.RepositoryRoot(), "tests", "vm");

    /// <summary>The run of guest/tls.py.</summary>
    public static Task<VirtualMachine> Tls => s_tls.Value;

    /// <summary>Kept: the kernel's package is downloaded once.</summary>
    public static string Image { get; } = Path.Combine(DaemonProcess.RepositoryRoot(), "artifacts", "vm");

    /// <summary>The run of guest/browser.py, in which the browser gets the address of a page.</summary>
    public static async Task<VirtualMachine> VisitAsync(Func<Uri, Process> browser)
    {
        var port = DaemonProcess.FreePort();
        var results = Path.Combine(Image, "results-browser");
        await s_image.Value;
        File.WriteAllText(results, "");
        var run = RunAsync("browser", $"{port}");
        Match page;
        while (!(page = Page().Match(File.ReadAllText(results))).Success && !run.IsCompleted)
            await Task.Delay(100);
        if (!page.Success)
            return await run;
        using var visitor = browser(new Uri($"https://a.test:{port}{page.Groups[1].Value}"));
        try
        {
            return await run;
        }
        finally
        {
            visitor.Kill(entireProcessTree: true);
            await visitor.WaitForExitAsync();
        }
    }

    public void AssertPassed(string name)
    {
        Assert.True(_problems.TryGetValue(name, out var problem), $"{name} did not run:\n{_output}");
        Assert.True(problem is null, problem);
    }

    /// <summary>Skips a test where there is nothing to run it with.</summary>
    public static void SkipWithoutQemu()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64)
            Assert.Skip("The virtual machine is one of x86-64, as this machine must be.");
        if (!Has("qemu-system-x86_64"))
            Assert.Skip("NOT TESTED: qemu-system-x86_64 is missing (apt-get install qemu-system-x86).");
    }

    /// <summary>Is there such a program on the PATH?</summary>
    public static bool Has(string program) => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Any(directory => File.Exists(Path.Combine(directory, program)));

    private static async Task MakeImageAsync()
    {
        var daemon = Environment.GetEnvironmentVariable("DAEMON_UNDER_TEST");
        Assert.False(string.IsNullOrEmpty(daemon), "DAEMON_UNDER_TEST names no Native AOT binary: dotnet publish -c "
            + "Release -r linux-x64 src/StreamingDaemon.Host -o artifacts/aot, and set it to artifacts/aot/streaming-daemon");
        _ = await BashAsync(s_patience, "make-image.sh", Image, Path.GetFullPath(daemon));
    }

    private static async Task<VirtualMachine> RunAsync(params string[] run)
    {
        await s_image.Value;
        return new VirtualMachine(await BashAsync(s_patience, "run.sh", [Image, .. run]));
    }

    /// <summary>Runs a script of this directory, and returns what it wrote to its standard output.</summary>
    public static async Task<string> BashAsync(TimeSpan patience, string script, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(
            "timeout", ["--kill-after=10", $"{patience.TotalSeconds}", Path.Combine(Directory, script), .. arguments])
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = await process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync();
        Assert.True(process.ExitCode == 0, $"{script} ended with {process.ExitCode}:\n{await error}{output}");
        return output;
    }

    [GeneratedRegex("^{\"open\": \"([^\"]+)\"}", RegexOptions.Multiline)]
    private static partial Regex Page();
}
