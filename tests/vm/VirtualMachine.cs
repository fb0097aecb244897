using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text.Json;
using StreamingDaemon.Testing;

namespace StreamingDaemon.VmTests;

/// <summary>
/// One run of the virtual machine: Debian's 6.1 kernel with Apache, PHP, the daemon's AOT binary and clients, under qemu.
/// What happens inside is in guest/. Made and run once, by whichever test comes first.
/// </summary>
internal sealed class VirtualMachine
{
    /// <summary>Emulation takes a minute or two; a busy machine more.</summary>
    private static readonly TimeSpan s_patience = TimeSpan.FromMinutes(8);

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
        if (!HasQemu())
            Assert.Skip("NOT TESTED: qemu-system-x86_64 is missing (apt-get install qemu-system-x86).");
    }

    private static bool HasQemu() => (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':')
        .Any(directory => File.Exists(Path.Combine(directory, "qemu-system-x86_64")));

    private static async Task<VirtualMachine> RunAsync(string run)
    {
        var daemon = Environment.GetEnvironmentVariable("DAEMON_UNDER_TEST");
        Assert.False(string.IsNullOrEmpty(daemon), "DAEMON_UNDER_TEST names no Native AOT binary: dotnet publish -c "
            + "Release -r linux-x64 src/StreamingDaemon.Host -o artifacts/aot, and set it to artifacts/aot/streaming-daemon");
        // Kept: the kernel's package is downloaded once.
        var image = Path.Combine(DaemonProcess.RepositoryRoot(), "artifacts", "vm");
        _ = await BashAsync("make-image.sh", image, Path.GetFullPath(daemon));
        return new VirtualMachine(await BashAsync("run.sh", image, run));
    }

    private static async Task<string> BashAsync(string script, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(
            "timeout", ["--kill-after=10", $"{s_patience.TotalSeconds}", Path.Combine(Directory, script), .. arguments])
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
}
