using System.Runtime.Versioning;
using OpenQA.Selenium.Chrome;
using StreamingDaemon.ApacheTests;
using StreamingDaemon.ChatPageTests;
using Xunit.Sdk;
using Xunit.v3;

[assembly: SupportedOSPlatform("linux")]
[assembly: AssemblyFixture(typeof(Browser))]
[assembly: AssemblyFixture(typeof(SharedSites))]
[assembly: Parallelization(Mode = ParallelMode.None)]

namespace StreamingDaemon.ChatPageTests;

/// <summary>
/// The distribution's headless Chromium, one for the whole run; each test has a tab of its own. Nothing is
/// downloaded: browser and driver are installed, and of one version.
/// </summary>
public sealed class Browser : IDisposable
{
    private readonly Lazy<ChromeDriver> _driver = new(Start);

    public void Dispose()
    {
        if (_driver.IsValueCreated)
            _driver.Value.Quit();
    }

    /// <summary>A visitor who was never here before.</summary>
    internal ChatPage Open(ChatSite site)
    {
        _driver.Value.ExecuteCdpCommand("Storage.clearDataForOrigin", new Dictionary<string, object?>
        {
            ["origin"] = new Uri(site.Url).GetLeftPart(UriPartial.Authority),
            ["storageTypes"] = "local_storage",
        });
        return OpenTab(site.Url);
    }

    /// <summary>Another tab of the same visitor.</summary>
    internal ChatPage OpenTab(string address) => new(_driver.Value, address);

    private static ChromeDriver Start()
    {
        var options = new ChromeOptions
        {
            BinaryLocation = Tools.Chromium,
            // The terminator of TLS makes its own.
            AcceptInsecureCertificates = true,
        };
        options.AddArguments("--headless=new", "--disable-dev-shm-usage", "--hide-scrollbars",
            // No name is looked up, whoever asks: what is not on this machine's loopback fails.
            "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            "--disable-background-networking");
        // Chromium's sandbox refuses to run as root, who runs these tests in a container.
        if (Environment.IsPrivilegedProcess)
            options.AddArgument("--no-sandbox");
        options.SetLoggingPreference("performance", OpenQA.Selenium.LogLevel.All);
        var service = ChromeDriverService.CreateDefaultService(Path.GetDirectoryName(Tools.ChromeDriver),
            Path.GetFileName(Tools.ChromeDriver));
        service.SuppressInitialDiagnosticInformation = true;
        service.LogPath = "/dev/null";
        return new ChromeDriver(service, options);
    }
}
