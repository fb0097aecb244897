using System.Diagnostics;

namespace StreamingDaemon.VmTests;

/// <summary>A browser of this machine visits the HTTPS site inside the virtual machine.</summary>
[Collection(TlsTests.OneAtATime)]
public sealed class BrowserTests
{
    [Fact]
    public async Task Chromium_that_came_over_http2_reads_streams_that_the_kernel_encrypts_event_by_event()
    {
        VirtualMachine.SkipWithoutQemu();
        if (!VirtualMachine.Has("chromium"))
            Assert.Skip("NOT TESTED: chromium is missing (apt-get install chromium).");
        // Left where it is: a browser that was killed may write to it for a moment.
        var profile = Path.Combine(VirtualMachine.Image, "browser");
        if (Directory.Exists(profile))
            Directory.Delete(profile, recursive: true);

        var run = await VirtualMachine.VisitAsync(page => Process.Start(new ProcessStartInfo("chromium",
        [
            // The machine's certificate is its own.
            "--headless=new", "--ignore-certificate-errors", "--disable-dev-shm-usage", $"--user-data-dir={profile}",
            "--host-resolver-rules=MAP a.test 127.0.0.1, MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            "--disable-background-networking", .. Environment.IsPrivilegedProcess ? ["--no-sandbox"] : Array.Empty<string>(),
            $"{page}",
        ])
        {
            RedirectStandardError = true,
            RedirectStandardOutput = true,
        })!);

        run.AssertPassed("browser_that_came_over_http2_reads_two_streams_event_by_event");
    }
}
