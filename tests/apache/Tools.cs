using System.Runtime.CompilerServices;

namespace StreamingDaemon.ApacheTests;

/// <summary>
/// The programs that these tests run. A missing one fails the tests and says what to install.
/// </summary>
internal static class Tools
{
    private static readonly Lazy<string> s_builtModule = new(() => BuildModule(flags: ""));
    private static readonly Lazy<string> s_modules = new(() =>
        ChildProcess.Run(Apxs, "-q", "LIBEXECDIR").Output.Trim());

    public static string Repository { get; } = Path.GetFullPath("../..", SourceDirectory());

    public static string Apache => Find("apache2", "apache2");
    public static string Apxs => Find("apxs", "apache2-dev");
    public static string Gcc => Find("gcc", "gcc");
    public static string Curl => Find("curl", "curl");
    public static string Chromium => Find("chromium", "chromium");
    public static string ChromeDriver => Find("chromedriver", "chromium-driver");
    public static string Caddy => Find("caddy", "caddy");
    public static string Node => Find("node", "nodejs");
    public static string Npm => Find("npm", "npm");
    public static string SetSid => Find("setsid", "util-linux");
    public static string Php => Find("php", "php-cli");
    public static string PhpUnit => Find("phpunit", "phpunit php-curl");
    public static string PhpFpm => FindNewest("/usr/sbin", "php-fpm*", "php-fpm");
    public static string ModPhp => FindNewest(Modules, "libphp*.so", "libapache2-mod-php");
    public static string Modules => s_modules.Value;

    public static string LoadModule(string name) => $"LoadModule {name}_module {Modules}/mod_{name}.so";

    /// <summary>Our module, compiled once per run, outside of the working tree.</summary>
    public static string HandoffModule => s_builtModule.Value;

    /// <summary>Our module for TLS, compiled together with the other.</summary>
    public static string TlsModule =>
        Path.Combine(Path.GetDirectoryName(HandoffModule)!, "mod_socket_handoff_tls.so");

    /// <summary>Compiles a C file to a shared object.</summary>
    public static void Compile(string source, string sharedObject)
    {
        var (exitCode, output) = ChildProcess.Run(Gcc,
            "-shared", "-fPIC", "-Wall", "-Werror", "-o", sharedObject, source, "-ldl");
        if (exitCode != 0)
            throw new InvalidOperationException($"{source} does not compile:\n{output}");
    }

    /// <summary>Compiles our module, without a warning.</summary>
    /// <param name="flags">Further flags for the compiler.</param>
    public static string BuildModule(string flags)
    {
        _ = Apxs;
        if (!File.Exists("/usr/include/apache2/mod_ssl_openssl.h"))
            throw Missing("mod_ssl_openssl.h", "apache2-ssl-dev");
        string build = Directory.CreateTempSubdirectory("handoff-module-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(build, recursive: true);
        var (exitCode, output) = ChildProcess.Run(Find("make", "make"),
            "-C", Path.Combine(Repository, "apache"), $"BUILD={build}", $"FLAGS={flags}");
        string module = Path.Combine(build, ".libs", "mod_socket_handoff.so");
        if (exitCode != 0 || output.Contains("warning:", StringComparison.Ordinal) || !File.Exists(module))
            throw new InvalidOperationException($"The module does not compile cleanly:\n{output}");
        return module;
    }

    private static string Find(string program, string package)
    {
        string path = Environment.GetEnvironmentVariable("PATH") + ":/usr/sbin:/usr/bin:/bin";
        return path.Split(':').Select(directory => Path.Combine(directory, program))
            .FirstOrDefault(File.Exists) ?? throw Missing(program, package);
    }

    private static string FindNewest(string directory, string pattern, string package) =>
        (Directory.Exists(directory) ? Directory.GetFiles(directory, pattern) : [])
            .Order(StringComparer.Ordinal).LastOrDefault()
        ?? throw Missing(Path.Combine(directory, pattern), package);

    private static InvalidOperationException Missing(string what, string package) =>
        new($"{what} is missing. These tests need it: apt-get install {package}");

    private static string SourceDirectory([CallerFilePath] string path = "") => Path.GetDirectoryName(path)!;
}
