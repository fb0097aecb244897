using System.Text.Json;
using System.Text.RegularExpressions;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>What the published binary is made of: its bill of materials, its notices, its sources.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed partial class SupplyTests
{
    /// <summary>Packages that the compiler gets and the trimmer removes whole.</summary>
    private static readonly string[] s_trimmed = ["prometheus-net.AspNetCore", "System.IO.Hashing"];

    private static readonly string s_published = Path.GetDirectoryName(Path.GetFullPath(NativeDaemon.Binary))!;

    private static string Packages { get; } = Environment.GetEnvironmentVariable("NUGET_PACKAGES")
        ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");

    [Fact]
    public async Task Bill_of_materials_has_what_is_linked_and_nothing_else()
    {
        var (exitCode, said) = await Tool.RunAsync("nm", Path.Combine(s_published, "streaming-daemon.dbg"));
        Assert.True(exitCode == 0, said);
        // Of managed code: the assembly's name, the type's, two underscores, the method's.
        var symbols = said.Split('\n').Select(line => line.Split(' ')[^1]).Where(symbol => Managed().IsMatch(symbol)).ToList();
        Assert.True(symbols.Count > 10_000, "no symbols of managed code");
        var components = Components();

        var prefixes = components.Keys.Where(id => !IsRuntime(id)).ToDictionary(id => id, id => Assemblies(id, components[id]));
        Assert.All(prefixes.Where(p => !s_trimmed.Contains(p.Key)), package => Assert.Contains(symbols, symbol =>
            package.Value.Any(name => symbol.StartsWith(name, StringComparison.Ordinal))));
        Assert.Contains(components.Keys, IsRuntime);
        string[] known =
        [
            .. prefixes.Values.SelectMany(names => names), "StreamingDaemon_", "streaming_daemon_", "S_P_", "System_",
            "Microsoft_", "Internal_",
            // The runtime's own types, which have no assembly's name.
            "Bool_", "Char_", "Int", "UInt", "Single_", "Double_", "String_", "Object_", "Array_", "Void_",
            // And C's: OpenSSL's shims, zlib, Brotli.
            "CryptoNative_", "SystemNative_", "NetSecurityNative_", "CompressionNative_", "Brotli",
        ];
        Assert.DoesNotContain(symbols, symbol => !known.Any(name => symbol.StartsWith(name, StringComparison.Ordinal)));
    }

    [Fact]
    public void Every_linked_package_is_in_the_notices_with_a_license_whose_text_is_there()
    {
        var notices = File.ReadAllText(Path.Combine(s_published, "THIRD-PARTY-NOTICES.txt"));
        var copyright = File.ReadAllText(Tool.InRepository("deploy", "debian", "copyright"));
        using var bill = Bill();

        foreach (var component in bill.RootElement.GetProperty("components").EnumerateArray())
        {
            var license = component.GetProperty("licenses")[0].GetProperty("license").GetProperty("id").GetString();
            Assert.Contains($"\n{component.GetProperty("name")} {component.GetProperty("version")}\n", notices,
                StringComparison.Ordinal);
            Assert.Contains($"\n======== {license} ========\n", notices, StringComparison.Ordinal);
            Assert.Contains($"\nLicense: {license}\n", copyright, StringComparison.Ordinal);
        }

        Assert.Contains("======== notices of Microsoft.NETCore.App.Runtime.NativeAOT.linux-x64 ========", notices,
            StringComparison.Ordinal);
    }

    [Fact]
    public async Task Lintian_finds_no_error_in_the_package()
    {
        using var directory = new TempDirectory();
        var (exitCode, package) = await Tool.RunAsync(
            Tool.InRepository("deploy", "debian", "build.sh"), NativeDaemon.Binary, directory.Path);
        Assert.True(exitCode == 0, package);

        // The runtime brings a zlib of its own. The maintainer is whoever builds the package.
        (exitCode, var said) = await Tool.RunAsync("lintian", "--allow-root", "--fail-on", "error", "--suppress-tags",
            "embedded-library,bogus-mail-host,root-in-contact", package.Trim());

        Assert.True(exitCode == 0, said);
        Assert.DoesNotContain("E: ", said, StringComparison.Ordinal);
    }

    private static JsonDocument Bill() => JsonDocument.Parse(
        File.ReadAllText(Path.Combine(s_published, "streaming-daemon.cdx.json")));

    private static Dictionary<string, string> Components()
    {
        using var bill = Bill();
        return bill.RootElement.GetProperty("components").EnumerateArray().ToDictionary(
            c => c.GetProperty("name").GetString()!, c => c.GetProperty("version").GetString()!);
    }

    private static bool IsRuntime(string id) => id.EndsWith(".linux-x64", StringComparison.Ordinal);

    /// <summary>The names of a package's assemblies, as the compiler writes them into symbols.</summary>
    private static List<string> Assemblies(string id, string version) =>
    [
        .. Directory.EnumerateFiles(Path.Combine(Packages, id.ToLowerInvariant(), version, "lib"), "*.dll",
                SearchOption.AllDirectories)
            .Select(file => NotInNames().Replace(Path.GetFileNameWithoutExtension(file), "_") + "_").Distinct(),
    ];

    [GeneratedRegex(@"^[A-Z][A-Za-z0-9]*_\w+__\w+$")]
    private static partial Regex Managed();

    [GeneratedRegex("[^A-Za-z0-9]")]
    private static partial Regex NotInNames();
}
