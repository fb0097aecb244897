using System.Security.Cryptography;
using StreamingDaemon.Testing;

namespace StreamingDaemon.DeployTests;

/// <summary>The same commit makes the same bytes: the binary that was published, against one that is published from an
/// archive of git, in another directory, at another time.</summary>
[Trait(NativeDaemon.Trait, NativeDaemon.NativeAot)]
public sealed class ReproducibleTests
{
    private static readonly string[] s_published =
        ["streaming-daemon", "streaming-daemon.dbg", "streaming-daemon.cdx.json", "THIRD-PARTY-NOTICES.txt"];

    [Fact]
    public async Task Two_builds_of_a_commit_are_the_same_byte_for_byte_and_so_are_their_packages()
    {
        using var directory = new TempDirectory();
        var source = directory.File("a-directory-of-another-length/source");
        await UnpackAsync(source);

        await SucceedAsync("env", "DOTNET_CLI_TELEMETRY_OPTOUT=1", "TZ=Asia/Tokyo", $"TMPDIR={directory.Path}",
            "sh", "-c", """
            umask 077 && cd "$0" && exec dotnet publish -c Release -r linux-x64 src/StreamingDaemon.Host -o "$1" -v quiet
            """, source, directory.File("published"));

        var first = Path.GetDirectoryName(Path.GetFullPath(NativeDaemon.Binary))!;
        foreach (var file in s_published)
        {
            Assert.True(Sum(Path.Combine(first, file)) == Sum(directory.File($"published/{file}")),
                $"{file} differs. Was {first} published from these sources?");
        }

        var ours = await SucceedAsync(Tool.InRepository("deploy", "debian", "build.sh"),
            NativeDaemon.Binary, directory.File("ours"));
        var theirs = await SucceedAsync("sh", "-c", """umask 077 && TZ=Asia/Tokyo exec "$@" """, "sh",
            Path.Combine(source, "deploy/debian/build.sh"), directory.File("published/streaming-daemon"),
            directory.File("theirs"));
        Assert.NotEqual(ours, theirs);
        Assert.Equal(Sum(ours.Trim()), Sum(theirs.Trim()));
    }

    [Fact]
    public void Messages_of_the_log_are_one_declaration_whose_generated_code_has_one_order()
    {
        // Its generator keeps declarations in a set: with two, the binary was one of two.
        var files = Directory.EnumerateFiles(Tool.InRepository("src"), "*.cs", SearchOption.AllDirectories)
            .Where(file => File.ReadAllText(file).Contains("[LoggerMessage(", StringComparison.Ordinal));

        Assert.Single(files);
    }

    /// <summary>The sources as an archive of git has them, without git: those of the work tree, whose changes the
    /// published binary has too.</summary>
    private static async Task UnpackAsync(string directory)
    {
        await SucceedAsync("bash", "-c", """
            set -e
            mkdir -p "$1"
            cd "$0"
            git ls-files -z --cached --others --exclude-standard |
                while read -r -d '' file; do [ ! -e "$file" ] || printf '%s\0' "$file"; done |
                tar --create --null --files-from=- | tar --extract --directory "$1"
            git log -1 --format='%H %ct' >"$1/.revision"
            """, Tool.InRepository(), directory);
    }

    private static async Task<string> SucceedAsync(string program, params string[] arguments)
    {
        var (exitCode, said) = await Tool.RunAsync(program, arguments);
        Assert.True(exitCode == 0, said);
        return said;
    }

    private static string Sum(string file)
    {
        using var content = File.OpenRead(file);
        return Convert.ToHexString(SHA256.HashData(content));
    }
}
